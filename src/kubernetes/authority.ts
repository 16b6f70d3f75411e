/**
 * The authority of an installation in a cluster: a Secret where none but controllers may read. Whoever finds none, or one that
 * will soon end, makes the next by compare-and-swap, so several controllers have the same one whoever of them is first.
 *
 * There may be several for a time. A new one is trusted long before it makes anything, because those who have to trust it
 * are told of it when they renew what they are (proxy/stream/token-identity.ts), and pods at their start.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { identityUri } from '../lib/identity.ts';
import { Listeners } from '../lib/listeners.ts';
import type { Log } from '../lib/log.ts';
import { repeat } from '../lib/repeat.ts';
import { certifyClient, createAuthority, type Issued, issueClient, issueServer } from '../lib/x509.ts';
import { type ClusterClient, isCode } from './client.ts';
import { type KubernetesObject, resources } from './resource.ts';

export type ClusterAuthority = {
  /** All that are trusted now, PEM. */
  certificates(): string;
  /** Of our servers: certificate and key, renewed as time passes. */
  server(): Issued;
  /** Calls whenever one of both is another one; returns the way to stop that. */
  onChange(listener: () => void): () => void;
  /** What a program of ours proves with who it is, for a key of its own; and for how many milliseconds. */
  certify(name: string, publicKey: KeyObject): { readonly certificate: string; readonly forMs: number };
  /** The same with a key made here, for ourselves. */
  identity(name: string): Issued;
  /** Looks at the Secret now. */
  look(): void;
  close(): Promise<void>;
};

export type ClusterAuthorityOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  /** Of the installation. */
  readonly namespace: string;
  /** Of the Secret; undefined: the same. */
  readonly secretNamespace?: string | undefined;
  /** Of the Secret, and of the ConfigMap in which everybody may read what is to be trusted (`ca.crt`). */
  readonly name: string;
  /** That our servers must be able to prove. */
  readonly serverNames: readonly string[];
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
};

/** @throws OffshootError kubernetes/… when the Secret can be neither read nor made */
export async function openClusterAuthority(o: ClusterAuthorityOptions): Promise<ClusterAuthority> {
  const { client, namespace, secretNamespace = namespace, name, log, now = Date.now } = o;
  const changed = new Listeners<void>(err => log.error({ err }, 'who follows the authority has failed'));
  let known: readonly Issued[] = [];
  let served: (Issued & { readonly by: Issued; readonly until: number }) | undefined;
  let published = '';

  async function look(): Promise<void> {
    const before = certificates();
    known = await agreed(o, now());
    const isOther = certificates() !== before;
    const isOld =
      served !== undefined && (served.by.certificate !== signer().certificate || now() > served.until);
    if (isOld) served = undefined;
    if (isOther || isOld) changed.tell();
    if (certificates() !== published) await publish();
  }

  /** For who is to trust it in this namespace: no need to let anybody near the Secret. */
  async function publish(): Promise<void> {
    const text = certificates();
    await client.apply(resources.ConfigMap, {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } },
      data: { 'ca.crt': text },
    });
    published = text;
  }

  const certificates = () => known.map(({ certificate }) => certificate).join('');
  /** The oldest that has time enough left: the one that everybody trusts. */
  const signer = (): Issued =>
    known.findLast(({ certificate }) => endOf(certificate) - now() > SIGNS_UNTIL) ?? known[0]!;

  await look();
  const looking = repeat(
    async () => {
      await look();
      return LOOK_MS;
    },
    err =>
      log.warn(
        { err, secret: name, namespace: secretNamespace },
        'the authority cannot be looked at; it goes on as it is',
      ),
    RETRY_MS,
  );

  return {
    certificates,
    server() {
      if (served === undefined) {
        const [by, at] = [signer(), now()];
        const issued = issueServer(by, o.serverNames, { from: at - SERVER_SKEW, until: at + SERVER_MS });
        served = { ...issued, by, until: at + SERVER_MS / 2 };
      }
      return served;
    },
    onChange: changed.add,
    certify(who, publicKey) {
      const validity = { from: now() - SKEW, until: now() + IDENTITY_MS };
      const serves = who === 'controller' || who.startsWith('node/');
      const certificate = certifyClient(signer(), publicKey, identityUri(who), validity, serves);
      return { certificate, forMs: IDENTITY_MS };
    },
    identity: who =>
      issueClient(signer(), identityUri(who), { from: now() - SKEW, until: now() + IDENTITY_MS }),
    look: () => looking.now(),
    close: () => looking.stop(),
  };
}

// --- internal ------------------------------------------------------------------------------------

const DAY = 86_400_000;
const AUTHORITY_MS = 3_650 * DAY;
/** So long before its end there is a next one, and so long before it that one begins to sign. */
const [NEXT_FROM, SIGNS_UNTIL] = [365 * DAY, 180 * DAY];
const SERVER_MS = 30 * DAY;
/** A pod asks again before half of it has passed. */
const IDENTITY_MS = 6 * 3_600_000;
/** Clocks of others may be that far behind ours. */
const [SKEW, SERVER_SKEW] = [15 * 60_000, DAY];
const LOOK_MS = 30_000;
const RETRY_MS = 2_000;
const MAX_TRIES = 10;
/** Key of the Secret's data; the newest is the first. */
const FIELD = 'authorities.json';

const endOf = (certificate: string): number => new X509Certificate(certificate).validToDate.getTime();

/** What the Secret says, after it says what it should. The newest is the first. */
async function agreed(
  {
    client,
    namespace: installation,
    secretNamespace: namespace = installation,
    name,
    log,
  }: ClusterAuthorityOptions,
  now: number,
): Promise<readonly Issued[]> {
  for (let tries = 1; ; tries++) {
    const secret = await client.get(resources.Secret, { namespace, name });
    const all = secret === undefined ? [] : heldBy(secret);
    if (all === undefined)
      log.warn({ secret: name, namespace }, 'the authority in it cannot be read: there is another one now');
    const good = (all ?? []).filter(({ certificate }) => endOf(certificate) > now);
    if (good.length > 0 && endOf(good[0]!.certificate) - now > NEXT_FROM) return good;
    const validity = { from: now - DAY, until: now + AUTHORITY_MS };
    // Of two with the same name clients would not know which one has signed (RFC 5280 §4.1.2.4).
    const label = `Offshoot CA ${installation} ${new Date(now).toISOString().slice(0, 10)}`;
    const next = [createAuthority(label.slice(0, 64), validity), ...good];
    const object: KubernetesObject = {
      ...{ apiVersion: 'v1', kind: 'Secret', type: 'Opaque' },
      metadata: { name, namespace, ...(secret && { resourceVersion: secret.metadata.resourceVersion! }) },
      data: { [FIELD]: Buffer.from(JSON.stringify(next)).toString('base64') },
    };
    try {
      if (secret === undefined) await client.create(resources.Secret, object);
      else await client.replace(resources.Secret, { ...secret, ...object, metadata: secret.metadata });
      log.info({ secret: name, namespace }, 'a new authority is made');
      return next;
    } catch (error) {
      const isOvertaken = isCode(error, 'kubernetes/conflict') || isCode(error, 'kubernetes/absent');
      if (!isOvertaken || tries === MAX_TRIES) throw error;
    }
  }
}

/** @returns undefined when it is none of ours, or damaged */
function heldBy(secret: KubernetesObject): readonly Issued[] | undefined {
  const text = (secret.data as Readonly<Record<string, string>> | undefined)?.[FIELD];
  try {
    const all = JSON.parse(Buffer.from(text ?? '', 'base64').toString()) as readonly Issued[];
    const isWhole = ({ certificate, key }: Issued) =>
      new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
    return all.length > 0 && all.every(isWhole) ? all : undefined;
  } catch {
    return undefined;
  }
}
