/** Where the controller is whose turn it is: the others lead to it, and are ready as long as that gets somewhere. */
import type { ClusterClient } from '../kubernetes/client.ts';
import { informer } from '../kubernetes/informer.ts';
import type { Candidacy, Holder } from '../kubernetes/lease.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import type { Entrance } from '../lib/entrance.ts';
import { request } from '../lib/http.ts';
import type { Log } from '../lib/log.ts';
import { repeat } from '../lib/repeat.ts';

/** Where it is reached, of which it says so in the Lease. */
export type HolderAt = {
  readonly host: string;
  readonly api: number;
  readonly feed: number;
  readonly probes: number;
};

export type FollowedHolder = {
  /** Why nobody is reached by us, in sentences; a short while without anybody is none. */
  lacks(): readonly string[];
  close(): Promise<void>;
};

export type HolderOptions = {
  readonly lease: Candidacy;
  /** Ours: nobody is led to himself. */
  readonly identity: string;
  readonly doors: { readonly api: Entrance; readonly feed: Entrance };
  readonly log: Log;
};

/** Until it is our turn, `doors` lead to whoever holds the lease. */
export function followHolder({ lease, identity, doors, log }: HolderOptions): FollowedHolder {
  let [readyAt, why] = [-Infinity, 'no controller has been found yet'];
  const elsewhere = (): HolderAt | undefined => {
    const holder = lease.holder();
    return holder === undefined || holder.identity === identity ? undefined : holderAt(holder);
  };

  function lead(): void {
    const at = elsewhere();
    doors.api.lead(at && { host: at.host, port: at.api });
    doors.feed.lead(at && { host: at.host, port: at.feed });
    asking.now();
  }

  async function ask(): Promise<number> {
    const [holder, at] = [lease.holder(), elsewhere()];
    if (lease.leftMs() > 0) return EVERY_MS;
    if (at === undefined) why = lease.failure()?.message ?? 'no controller decides';
    else {
      const said = await readiness(at);
      if (said === undefined) readyAt = performance.now();
      else why = `the controller that decides, ${holder?.identity}, is not ready: ${said}`;
    }
    return EVERY_MS;
  }
  const asking = repeat(ask, err =>
    log.error({ err }, 'the controller that decides could not be looked for'),
  );
  const stop = lease.onChange(lead);
  lead();

  return {
    lacks: () => (performance.now() - readyAt < GONE_MS ? [] : [why]),
    async close() {
      stop();
      await asking.stop();
    },
  };
}

/** Looks at the lease as soon as somebody has given it up. @returns the way to stop that */
export function wakeWhenFree(
  client: ClusterClient,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  lease: Candidacy,
  log: Log,
): () => Promise<void> {
  const watching = informer<boolean>({
    ...{ client, resource: resources.Lease, namespace, log },
    selection: { fieldSelector: `metadata.name=${name}` },
    keep: ({ spec }: KubernetesObject) => !(spec as { holderIdentity?: string } | undefined)?.holderIdentity,
    onChange: ({ now }) => now === true && lease.look(),
  });
  return () => watching.close();
}

// --- internal ------------------------------------------------------------------------------------

const EVERY_MS = 2_000;
/** One that is gone is followed by the next one before that. */
const GONE_MS = 40_000;
const ANSWER_MS = 2_000;

/** @returns undefined for one that does not say what it should */
function holderAt({ says }: Holder): HolderAt | undefined {
  try {
    const at = JSON.parse(says) as HolderAt;
    const isPort = (port: unknown) => Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
    const isWhole = typeof at.host === 'string' && [at.api, at.feed, at.probes].every(isPort);
    return isWhole ? at : undefined;
  } catch {
    return undefined;
  }
}

/** @returns undefined: it is ready; else what it lacks, or why it does not answer */
function readiness({ host, probes: port }: HolderAt): Promise<string | undefined> {
  return new Promise(resolve => {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const asked = request({ host, port, path: '/readyz', agent: false, signal }, answer => {
      let said = '';
      answer.setEncoding('utf8');
      answer.on('data', (text: string) => {
        said = (said + text).slice(0, MOST_CHARACTERS);
      });
      answer.on('error', error => resolve(error.message));
      answer.on('end', () =>
        resolve(answer.statusCode === 200 ? undefined : said.trim().replaceAll('\n', '; ')),
      );
    });
    asked.on('error', (error: NodeJS.ErrnoException) =>
      resolve(signal.aborted ? 'it does not answer' : (error.code ?? error.message)),
    );
    asked.end();
  });
}

const MOST_CHARACTERS = 1_000;
