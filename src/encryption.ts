/** What TLS is served with: the files that were given, or certificates of our own authority. */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { type Authority, keepAuthority } from './authority.ts';
import type { Config } from './config.ts';
import {
  CertificateError,
  type FollowedCertificate,
  followCertificate,
  loadCertificate,
} from './lib/certificate.ts';
import type { Log } from './lib/log.ts';
import { repeat } from './lib/repeat.ts';
import { OffshootError } from './model/errors.ts';
import type { RouteSettings } from './model/route.ts';
import type { CheckView } from './model/view.ts';

export type Encryption = {
  /** For the proxy. */
  readonly files: NonNullable<RouteSettings['tls']>;
  /** Of the API; undefined: it speaks clear text. */
  readonly api: FollowedCertificate | undefined;
  /** In URLs. */
  readonly scheme: 'http' | 'https';
  /** The authority that clients have to trust; undefined: certificates were given. */
  readonly authority: Authority | undefined;
  /** The one by which programs of ours on other machines know each other; undefined: none may follow. */
  readonly house: Authority | undefined;
  /** For `offshoot doctor`. */
  checks(): readonly (CheckView & { readonly area: string })[];
  close(): Promise<void>;
};

/** @throws OffshootError host/certificate when given files cannot be used now */
export function openEncryption(config: Config, log: Log): Encryption {
  const { home, tls } = config;
  const given = tls === 'generated' ? undefined : tls;
  if (given !== undefined) check(given);
  const names = namesOf(config);
  const keep = () => keepAuthority(home, hostname(), names, Date.now());
  const house = given === undefined || config.feedPort !== undefined ? keep() : undefined;
  const authority = given === undefined ? house : undefined;
  const renewing =
    house &&
    repeat(
      async () => {
        keep();
        return RENEW_MS;
      },
      err => log.error({ err }, 'no certificate can be made'),
    );
  const files = given ?? authority!.server;
  const served = followCertificate(files, {
    onChange(problem) {
      if (problem !== undefined)
        log.error(
          { file: problem.file, why: problem.why },
          'a certificate cannot be used; the one before is served',
        );
      else log.info({ file: files.cert }, 'a certificate is served');
    },
  });
  const encrypted = tls !== undefined;
  return {
    files: { postgres: files, ...(encrypted && { previews: files }) },
    api: encrypted ? served : undefined,
    scheme: encrypted ? 'https' : 'http',
    authority,
    house: config.feedPort === undefined ? undefined : house,
    checks: () => [certificateCheck(config, served), listeningCheck(config)],
    async close() {
      served.close();
      await renewing?.stop();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const RENEW_MS = 12 * 3_600_000;
const DAY = 86_400_000;

function check(files: { readonly cert: string; readonly key: string }): void {
  try {
    loadCertificate(files, Date.now());
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    throw new OffshootError('host/certificate', { file: error.file, why: error.why }, { cause: error });
  }
}

/** Under which a client may come here. */
function namesOf({ advertised, host, domain }: Config): readonly string[] {
  const below = [advertised, domain].filter(name => !/^[\d.]+$/.test(name));
  const names = [
    ...[advertised, host, domain, 'localhost', '127.0.0.1', '::1'],
    ...below.flatMap(name => [`*.${name}`, `*.preview.${name}`]),
  ];
  return [...new Set(names.map(name => name.toLowerCase()))].filter(name => !/^0+(\.0+)*$/.test(name));
}

function certificateCheck({ advertised, domain, tls }: Config, served: FollowedCertificate) {
  const [area, name] = ['tls', 'certificate'];
  const problem = served.problem();
  const leaf = served.current()?.leaf;
  if (problem !== undefined || leaf === undefined)
    return { area, name, ok: false, detail: problem?.message ?? 'there is none' };
  const until = leaf.validToDate.toISOString().slice(0, 10);
  const missing = [advertised, `x.preview.${domain}`].filter(
    host => (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) === undefined,
  );
  const whose = tls === undefined || tls === 'generated' ? 'made here, see "offshoot ca"' : tls.cert;
  const detail = `${whose}; until ${until}`;
  if (leaf.validToDate.getTime() < Date.now() + 7 * DAY)
    return { area, name, ok: false, detail: `${detail}: expires soon, or has` };
  // Nobody can prove a name right below "localhost" to every client; it never leaves the machine.
  const unproved = missing.filter(host => !host.endsWith('.localhost'));
  return unproved.length === 0
    ? { area, name, ok: true, detail }
    : { area, name, ok: false, detail: `${detail}; it does not prove ${unproved.join(' and ')}` };
}

function listeningCheck({ host, advertised, tls, cleartext }: Config) {
  const how =
    tls !== undefined
      ? 'TLS for all'
      : cleartext
        ? 'clear text for all, as was asked for'
        : 'this machine only';
  return {
    area: 'tls',
    name: 'listen',
    ok: tls !== undefined || !cleartext,
    detail: `${host}, known as ${advertised}: ${how}`,
  };
}
