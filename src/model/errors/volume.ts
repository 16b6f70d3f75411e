import type { ErrorRow } from '../errors.ts';

/** Volumes, and the PostgreSQL servers on them. */
export const volumeErrors = {
  'volume/read-only': {
    fault: 'system',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    say: p =>
      `the file system of ${p.where} takes no writes any more: the kernel has made it read-only, mostly because the disk below it was full or failed`,
    hint: () =>
      'free space, then mount it anew: "offshoot down" and "offshoot up --detach"; what is committed is kept',
  },
  'volume/no-space': {
    fault: 'system',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    say: p =>
      `no room for volume "${p.id}" in ${p.where}: ${p.freeMib} MiB are free, at least ${p.needMib} MiB are needed`,
    hint: p =>
      `delete branches that nobody needs ("offshoot branch list"), or free space on the file system of ${p.where}`,
  },
  'volume/driver-unusable': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `volumes of kind "${p.driver}" do not work here: ${p.why}`,
    hint: () => '"offshoot doctor" says what this machine can do',
  },
  'volume/source-missing': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `volume "${p.id}" cannot be grown from "${p.source}": there is no such volume`,
  },
  'volume/record-unreadable': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true, // it may be the system that could not read it, e.g. for want of file descriptors
    say: p => `${p.path} cannot be read as a volume record: ${p.why}`,
    hint: () => 'restore the file from a backup, or delete the branch',
  },
  'volume/no-pool': {
    fault: 'user',
    http: 404,
    exit: 1,
    retry: false,
    say: p => `${p.home} has no pool: its volumes are of another kind, or it has none yet`,
    hint: () =>
      '"offshoot doctor" says which kind of volumes is used, and why; one of an ordinary user is root\'s: "offshoot pool init --help"',
  },
  'volume/pool-in-use': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `the pool ${p.image} is in use, mounted at ${p.mountedAt}`,
    hint: () => 'end what runs on it with "offshoot down"; data stays',
  },
  'volume/pool-size': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `the pool cannot have ${p.size}: ${p.why}`,
    hint: p => `it holds ${p.used}; delete branches that nobody needs, or choose more`,
  },
  'volume/pool-place': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `the pool cannot be put into ${p.directory}: ${p.why}`,
    hint: () => 'name a directory of a disk with more room; the pool is where it was',
  },
  'volume/user-pool': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `there can be no pool for an ordinary user: ${p.why}`,
    hint: () =>
      'it is made by "sudo offshoot pool init --user --size 20G", once; then root is not needed any more',
  },
  'volume/busy': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `${p.path} could not be unmounted: ${p.why}`,
    hint: p => `end the programs that use it ("fuser -m ${p.path}" lists them), then repeat`,
  },
  'postgres/missing': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `no PostgreSQL was found: ${p.why}`,
    hint: () => 'run "npm install" again, or name the bin directory of an installation in the configuration',
  },
  'postgres/unusable': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `the PostgreSQL in ${p.path} cannot be used: ${p.why}`,
    hint: p => (p.hint === undefined ? 'PostgreSQL 18 or newer is needed' : String(p.hint)),
  },
  'postgres/no-user': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `PostgreSQL refuses to run as root, and none of the users ${p.tried} exists`,
    hint: () => 'create one ("useradd --system offshoot"), or run offshoot as an ordinary user',
  },
  'postgres/initdb-failed': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: true,
    say: p => `a new database cluster could not be made in ${p.dataDir}: ${p.why}`,
  },
  'postgres/start-failed': {
    fault: 'system',
    http: 500,
    sqlstate: '57P03',
    exit: 1,
    retry: true,
    say: p => `the PostgreSQL server of branch "${p.id}" did not start: ${p.why}`,
    hint: p => `its log is ${p.logFile}`,
  },
  'postgres/ends': {
    fault: 'system',
    http: 503,
    sqlstate: '57P03',
    exit: 1,
    retry: true,
    say: p =>
      `the PostgreSQL server of branch "${p.branch}" ends by itself: ${p.count} times in a row, the last time after ${p.lived}`,
    hint: p => `it is started again after pauses; its log is logs/postgres/${p.id}.log in the data directory`,
  },
  'postgres/not-running': {
    fault: 'system',
    http: 503,
    sqlstate: '57P03',
    exit: 1,
    retry: true,
    say: p =>
      `the PostgreSQL server of branch "${p.id}" ${p.why === undefined ? 'is not running' : `takes no sessions now: ${p.why}`}`,
  },
  'postgres/socket-path': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `the socket path ${p.path} has ${p.bytes} bytes, the most that works everywhere is ${p.most}`,
    hint: () => 'choose a shorter runtime directory',
  },
  'postgres/tablespaces': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `${p.dataDir} has tablespaces outside of its directory: a branch would share them with its parent`,
    hint: () => 'move their tables to pg_default and drop the tablespaces',
  },
} as const satisfies Record<string, ErrorRow>;
