/** Configuration: from the environment to one frozen object. Nothing else reads the environment for the daemon. */
import { isIPv4, isIPv6 } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { CertificateFiles } from './lib/certificate.ts';
import { isLoopback } from './lib/peer.ts';
import { parseBytes } from './model/bytes.ts';
import { OffshootError } from './model/errors.ts';

export type Config = {
  /** Data directory: store, logs, pool image, workload state. */
  readonly home: string;
  /** Sockets and mount points; short, because unix socket paths are. Derived from `home`, empty while nothing runs. */
  readonly runtimeDir: string;
  /** Marks our processes, so that two homes on one machine never touch each other's. */
  readonly instance: string;
  /** Where everything listens. */
  readonly host: string;
  /** The name or address under which clients reach us; what addresses that are given out say. */
  readonly advertised: string;
  /** Files of a certificate; `generated`: one of our own authority; undefined: clear text is wanted, or stays on this machine. */
  readonly tls: CertificateFiles | 'generated' | undefined;
  /** Clear text is served to everybody, also beyond this machine. */
  readonly cleartext: boolean;
  /** 0 = any free port. */
  readonly apiPort: number;
  readonly httpPort: number;
  readonly postgresPort: number;
  /** Where gateways and sidecars follow from elsewhere; undefined: nowhere. */
  readonly feedPort: number | undefined;
  readonly domain: string;
  readonly volumes: 'btrfs' | 'pool' | 'reflink' | 'copy' | undefined;
  readonly poolBytes: number | undefined;
  /** Below this much free space nothing new is made. */
  readonly minFreeBytes: number;
  /** The last bytes, which only `main` branches may use. Default: by the size of the disk. */
  readonly reserveBytes: number | undefined;
  /** Servers that run before anybody asks for their branches, at most. */
  readonly preparedServers: number;
  /** Milliseconds that what was deleted by hand can be had back; 0 = there is no trash. */
  readonly trashMs: number;
  /** `bin` directory of another PostgreSQL. */
  readonly postgresBin: string | undefined;
  /** Directory of a control group that processes may go into; default: found. */
  readonly cgroup: string | undefined;
  /** Sockets at which a container engine may answer, the first counts most; or why there is to be none. */
  readonly engine: readonly string[] | { readonly why: string };
  /** Addresses for pods and Services, of which a part is taken; `host`: pods have no network of their own. */
  readonly network: string;
  /** Ports of this machine's 127.0.0.1 that pods find at their own. */
  readonly hostPorts: readonly number[];
  /** Further headers that carry the bare routing key. */
  readonly customHeaders: readonly string[];
  /** Most that a header block may have, of a request or of an answer. */
  readonly headerBytes: number;
  /** Milliseconds for which the routing key of a deleted sandbox leads nowhere; 0: to the baseline at once. */
  readonly deletedKeysMs: number;
  /** Connections that an API key opened go on when it is revoked. */
  readonly keepRevoked: boolean;
  /** Milliseconds that a proxy which was replaced goes on serving its connections. */
  readonly drainMs: number;
  readonly logLevel: string;
};

type Env = Readonly<Record<string, string | undefined>>;

export const defaultPorts = { api: 7400, http: 7480, postgres: 7432 } as const;

/** Variables that readConfig understands, with what they mean; printed by `offshoot up --help`. */
export const variables = {
  OFFSHOOT_HOME: 'data directory (root: /var/lib/offshoot, others: ~/.local/share/offshoot)',
  OFFSHOOT_HOST: 'address to listen on (127.0.0.1); beyond this machine it takes one of the TLS settings',
  OFFSHOOT_ADVERTISE: 'name or address under which clients reach this machine (OFFSHOOT_HOST)',
  OFFSHOOT_TLS_CERT: 'certificate for API, previews and Postgres gateway, with its chain, PEM',
  OFFSHOOT_TLS_KEY: 'its key, PEM, mode 0600',
  OFFSHOOT_TLS: 'generated: API and previews by TLS with a certificate of "offshoot ca"',
  OFFSHOOT_CLEARTEXT: 'allow: clear text also beyond this machine, API keys and data included',
  OFFSHOOT_API_PORT: 'port of the API (7400; 0 = any free one)',
  OFFSHOOT_HTTP_PORT: 'port of the preview gateway (7480)',
  OFFSHOOT_POSTGRES_PORT: 'port of the Postgres gateway (7432)',
  OFFSHOOT_FEED_PORT: 'port at which gateways and sidecars follow that were started apart (none)',
  OFFSHOOT_DOMAIN: 'previews live below preview.<domain> (OFFSHOOT_ADVERTISE if it is a name, or localhost)',
  OFFSHOOT_VOLUMES: 'btrfs, pool, reflink or copy instead of the best that works here',
  OFFSHOOT_POOL_SIZE: 'size of the pool image, e.g. 20G (80 % of the free space)',
  OFFSHOOT_MIN_FREE: 'keep at least this much space free (256M)',
  OFFSHOOT_RESERVE: 'space that only main branches may use (a 32nd part, 64M to 512M)',
  OFFSHOOT_PREPARED:
    'most servers that run before anybody asks, for parents of many branches, so that these begin at once (0)',
  OFFSHOOT_TRASH:
    'how long deleted projects and branches can be restored, e.g. 90m, 24h, 7d; 0 = not at all (24h)',
  OFFSHOOT_POSTGRES_BIN: 'bin directory of a PostgreSQL 18 to use instead of the bundled one',
  OFFSHOOT_CGROUP: 'directory of a delegated control group for what is started (root: found by itself)',
  OFFSHOOT_ENGINE:
    'socket of the Docker-compatible engine that runs images without an entry (found by itself: DOCKER_HOST, Docker, Podman); or none',
  OFFSHOOT_NETWORK:
    'addresses for pods and Services (10.208.0.0/12, of which a /20 is taken); or host: pods share the network of this machine',
  OFFSHOOT_HOST_PORTS: 'ports of 127.0.0.1 of this machine that pods find at their own, e.g. 6379,9200',
  OFFSHOOT_HEADERS: 'further request headers that carry the routing key, comma separated',
  OFFSHOOT_HEADER_SIZE: 'largest header block of a request or an answer, 8K to 1M (64K)',
  OFFSHOOT_DELETED_KEYS:
    'how long the routing key of a deleted sandbox answers 410, e.g. 1d (the default); or baseline: it leads there at once',
  OFFSHOOT_REVOKED_KEYS: 'cut (the default) or keep what a revoked API key has open',
  OFFSHOOT_DRAIN: 'how long a replaced proxy serves the connections that it has (1h)',
  OFFSHOOT_LOG: 'level of the daemon log: debug, info, warn, error (info)',
} as const;

// An import of it loads all of its exports, web cryptography included: some 4 ms of each command.
const { createHash } = process.getBuiltinModule('node:crypto');

/** @throws OffshootError config/invalid */
export function readConfig(env: Env, uid: number): Config {
  const home = resolve(env.OFFSHOOT_HOME || defaultHome(env, uid));
  const instance = createHash('sha256').update(home).digest('hex').slice(0, 10);
  return Object.freeze({
    home,
    instance,
    runtimeDir: runtimeDir(env, uid, instance),
    ...listening(env),
    apiPort: port(env, 'OFFSHOOT_API_PORT', defaultPorts.api),
    httpPort: port(env, 'OFFSHOOT_HTTP_PORT', defaultPorts.http),
    postgresPort: port(env, 'OFFSHOOT_POSTGRES_PORT', defaultPorts.postgres),
    feedPort: env.OFFSHOOT_FEED_PORT ? port(env, 'OFFSHOOT_FEED_PORT', 0) : undefined,
    domain: domain(env),
    volumes: oneOf(env, 'OFFSHOOT_VOLUMES', ['btrfs', 'pool', 'reflink', 'copy'] as const),
    poolBytes: bytes(env, 'OFFSHOOT_POOL_SIZE'),
    minFreeBytes: bytes(env, 'OFFSHOOT_MIN_FREE') ?? 256 * 1024 ** 2,
    reserveBytes: bytes(env, 'OFFSHOOT_RESERVE'),
    preparedServers: preparedServers(env),
    trashMs: env.OFFSHOOT_TRASH === '0' ? 0 : duration(env, 'OFFSHOOT_TRASH', '24h'),
    postgresBin: env.OFFSHOOT_POSTGRES_BIN || undefined,
    cgroup: env.OFFSHOOT_CGROUP || undefined,
    engine: engine(env, uid),
    network: network(env),
    hostPorts: hostPorts(env),
    customHeaders: headers(env),
    headerBytes: headerBytes(env),
    deletedKeysMs:
      env.OFFSHOOT_DELETED_KEYS === 'baseline' ? 0 : duration(env, 'OFFSHOOT_DELETED_KEYS', '1d'),
    keepRevoked: oneOf(env, 'OFFSHOOT_REVOKED_KEYS', ['cut', 'keep'] as const) === 'keep',
    drainMs: duration(env, 'OFFSHOOT_DRAIN', '1h'),
    logLevel: oneOf(env, 'OFFSHOOT_LOG', ['debug', 'info', 'warn', 'error'] as const) ?? 'info',
  });
}

// --- internal -----------------------------------------------------------------------------------

const invalid = (name: string, value: string, why: string) =>
  new OffshootError('config/invalid', { name, value, why });

function defaultHome(env: Env, uid: number): string {
  if (uid === 0) return '/var/lib/offshoot';
  return join(env.XDG_DATA_HOME || join(env.HOME || homedir(), '.local', 'share'), 'offshoot');
}

function runtimeDir(env: Env, uid: number, instance: string): string {
  if (uid === 0 && process.platform === 'linux') return `/run/offshoot/${instance}`;
  if (env.XDG_RUNTIME_DIR && env.XDG_RUNTIME_DIR.length < 40)
    return join(env.XDG_RUNTIME_DIR, `offshoot-${instance}`);
  return join(tmpdir().length < 40 ? tmpdir() : '/tmp', `offshoot-${uid}-${instance}`);
}

function port(env: Env, name: string, otherwise: number): number {
  const text = env[name];
  if (!text) return otherwise;
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw invalid(name, text, 'it must be a port number, 0 to 65535');
}

/** Each takes some 30 MB. */
function preparedServers(env: Env): number {
  const text = env.OFFSHOOT_PREPARED || '0';
  if (/^\d{1,2}$/.test(text)) return Number(text);
  throw invalid('OFFSHOOT_PREPARED', text, 'it must be a number, 0 to 99');
}

function host(env: Env, name: 'OFFSHOOT_HOST' | 'OFFSHOOT_ADVERTISE'): string | undefined {
  const text = env[name];
  if (!text) return undefined;
  if (isIPv6(text)) throw invalid(name, text, 'IPv6 addresses are not supported yet');
  if (/^[A-Za-z0-9.-]+$/.test(text)) return text;
  throw invalid(name, text, 'it must be an IPv4 address or a host name');
}

function listening(env: Env): Pick<Config, 'host' | 'advertised' | 'tls' | 'cleartext'> {
  const listen = host(env, 'OFFSHOOT_HOST') ?? '127.0.0.1';
  const advertised = host(env, 'OFFSHOOT_ADVERTISE') ?? listen;
  const files = certificateFiles(env);
  const generated = oneOf(env, 'OFFSHOOT_TLS', ['generated'] as const);
  if (files !== undefined && generated !== undefined)
    throw invalid('OFFSHOOT_TLS', generated, 'there is a certificate in OFFSHOOT_TLS_CERT');
  const cleartext = oneOf(env, 'OFFSHOOT_CLEARTEXT', ['allow'] as const) === 'allow';
  const tls = files ?? generated;
  if (!isLoopback(listen) && tls === undefined && !cleartext)
    throw new OffshootError('host/clear-text', { host: listen });
  if (/^0+(\.0+)*$/.test(advertised)) throw new OffshootError('host/nameless', { host: listen });
  return { host: listen, advertised, tls, cleartext };
}

function certificateFiles(env: Env): CertificateFiles | undefined {
  const { OFFSHOOT_TLS_CERT: cert, OFFSHOOT_TLS_KEY: key } = env;
  if (!cert && !key) return undefined;
  const why = 'a certificate and its key go together: give the other one, too';
  if (!key) throw invalid('OFFSHOOT_TLS_CERT', cert!, why);
  if (!cert) throw invalid('OFFSHOOT_TLS_KEY', key, why);
  return { cert: resolve(cert), key: resolve(key) };
}

const domainPattern = /^([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

function domain(env: Env): string {
  const name = env.OFFSHOOT_ADVERTISE?.toLowerCase();
  const text =
    env.OFFSHOOT_DOMAIN || (name && !isIPv4(name) && domainPattern.test(name) ? name : 'localhost');
  if (domainPattern.test(text)) return text;
  throw invalid('OFFSHOOT_DOMAIN', text, 'it must be a domain name in lowercase');
}

/** Only one that is on this machine, and started by root, can mount what pods share and enter their networks. */
function engine(env: Env, uid: number): Config['engine'] {
  const named = env.OFFSHOOT_ENGINE;
  if (named === 'none') return { why: 'OFFSHOOT_ENGINE says that there is to be none' };
  const path = named?.replace(/^unix:\/\//, '');
  if (path && !path.startsWith('/'))
    throw invalid('OFFSHOOT_ENGINE', named!, 'it must be the path of a unix socket, or none');
  if (uid !== 0) return { why: 'only a daemon of root can put containers into the networks of pods' };
  if (path) return [path];
  const ofDocker = /^unix:\/\/(\/.+)$/.exec(env.DOCKER_HOST ?? '')?.[1];
  const { XDG_RUNTIME_DIR: runtime } = env;
  return [
    ...(ofDocker === undefined ? [] : [ofDocker]),
    ...['/var/run/docker.sock', '/run/podman/podman.sock'],
    ...(runtime ? [join(runtime, 'podman/podman.sock')] : []),
  ];
}

function network(env: Env): string {
  const text = env.OFFSHOOT_NETWORK || '10.208.0.0/12';
  if (text === 'host') return text;
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  const [a = 256, b = 256, c = 256, d = 256, bits = 33] = match?.slice(1).map(Number) ?? [];
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  if (Math.max(a, b, c, d) < 256 && bits >= 8 && bits <= 26 && address % 2 ** (32 - bits) === 0) return text;
  throw invalid('OFFSHOOT_NETWORK', text, 'it must be a range such as 10.208.0.0/12, /8 to /26, or host');
}

function hostPorts(env: Env): readonly number[] {
  const text = env.OFFSHOOT_HOST_PORTS ?? '';
  const ports = text
    .split(',')
    .map(port => port.trim())
    .filter(Boolean);
  if (ports.every(port => /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536))
    return ports.map(Number);
  throw invalid('OFFSHOOT_HOST_PORTS', text, 'it must be port numbers, separated by commas');
}

/** Names as RFC 9110 §5.1 has them, in lowercase. */
function headers(env: Env): readonly string[] {
  const text = env.OFFSHOOT_HEADERS ?? '';
  const names = text
    .split(',')
    .map(name => name.trim().toLowerCase())
    .filter(Boolean);
  if (names.every(name => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name))) return names;
  throw invalid('OFFSHOOT_HEADERS', text, 'it must be names of headers, separated by commas');
}

/** Below 8 KiB what browsers send of themselves would be refused, and above 1 MiB one client could hold too much of ours. */
function headerBytes(env: Env): number {
  const found = bytes(env, 'OFFSHOOT_HEADER_SIZE') ?? 64 * 1024;
  if (found >= 8 * 1024 && found <= 1024 ** 2) return found;
  throw invalid('OFFSHOOT_HEADER_SIZE', env.OFFSHOOT_HEADER_SIZE!, 'it must be 8K to 1M');
}

/** Milliseconds; setTimeout knows nothing beyond 24 days. */
function duration(env: Env, name: string, otherwise: string): number {
  const text = env[name] || otherwise;
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (match === null) throw invalid(name, text, 'write a time such as 30s, 10m, 1h or 1d');
  return Math.min(
    Number(match[1]) * { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 's']!,
    2 ** 31 - 1,
  );
}

function oneOf<T extends string>(env: Env, name: string, values: readonly T[]): T | undefined {
  const text = env[name];
  if (!text) return undefined;
  const found = values.find(v => v === text);
  if (found === undefined) throw invalid(name, text, `it must be one of ${values.join(', ')}`);
  return found;
}

function bytes(env: Env, name: string): number | undefined {
  const text = env[name];
  if (!text) return undefined;
  const found = parseBytes(text);
  if (found === undefined) throw invalid(name, text, 'write a size such as 512M or 20G');
  return found;
}
