/** How our servers are run. Given on the command line, so that no file in a data directory can say otherwise. */
import { adminRole } from '../../model/branch.ts';
import type { ServerSettings } from '../../model/server-settings.ts';
import { nameFileOf } from './late-name.ts';

/** Names the socket file; nothing listens on TCP. */
export const PORT = 5432;

/** The only way in: a password, over the private socket. Replication is not part of `all`. */
export const HBA = 'local all all scram-sha-256\n';

export function settings(server: {
  readonly id: string;
  /** Of the branch; undefined: see late-name.ts. */
  readonly name: string | undefined;
  readonly socketDir: string;
  readonly hbaFile: string;
  /** Of the installation: what it knows. */
  readonly major: number;
  /** Absent: it has none. */
  readonly extensionControlPath?: string | undefined;
  /** Whether this installation can count statements. */
  readonly countsStatements: boolean;
  /** The most of its log that it keeps for a slot; absent: no bound. */
  readonly keptWalBytes?: number | undefined;
  /** That its project has chosen, before ours. */
  readonly chosen?: ServerSettings | undefined;
}): Readonly<Record<string, string>> {
  return {
    listen_addresses: '',
    unix_socket_directories: `"${server.socketDir.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    port: String(PORT),
    hba_file: server.hbaFile,
    ...(server.extensionControlPath !== undefined && {
      extension_control_path: server.extensionControlPath,
    }),
    // Who restarts a server is one: we, who count and pause. PostgreSQL's own restart can stand still for ever, when its
    // recovery fails too (a full disk), with a server that is there and refuses everybody.
    restart_after_crash: 'off',
    max_connections: '100',
    // At each start it tries how many it gets, one by one. A session that needs more closes one that it has not used for long.
    max_files_per_process: '256',
    // Many servers share the machine: the page cache serves them all, private buffers only one.
    shared_buffers: '16MB',
    ...(server.major >= 18 && {
      io_method: 'sync', // three processes fewer per server
      // What it does at once it does by itself, one after the other: room for more is a sixth of the memory that a start fills.
      io_max_concurrency: '4',
      autovacuum_worker_slots: '3',
    }),
    // A snapshot of a running server starts with recovery, and its default, an fsync per file, is most of that time.
    ...(process.platform === 'linux' ? { recovery_init_sync_method: 'syncfs' } : {}),
    wal_level: 'replica', // what a backup of a running server needs
    min_wal_size: '32MB',
    max_wal_size: '256MB', // bounds recovery after a crash to a few seconds
    // Who reads a slot, we for a history included, may be gone for good: its log must not fill the room of all.
    ...(server.keptWalBytes !== undefined && {
      max_slot_wal_keep_size: `${Math.ceil(server.keptWalBytes / 2 ** 20)}MB`,
    }),
    // A branch believes that it is its parent: it must not write to its archive nor read its subscriptions.
    archive_mode: 'off',
    max_logical_replication_workers: '0',
    // Nobody may stream from it (see HBA), and each place for a process is work at every start.
    max_wal_senders: '0',
    cluster_name: server.id,
    'offshoot.branch': server.id,
    ...(server.name === undefined
      ? { config_file: nameFileOf(server.socketDir) }
      : { 'offshoot.branch_name': server.name }),
    // What insight shows; it costs a start some 3 ms of processor time, and each server less than a megabyte.
    ...(server.countsStatements && {
      'pg_stat_statements.max': '1000',
      // Their texts would hold what no parameter can: passwords that are set.
      'pg_stat_statements.track_utility': 'off',
    }),
    // Who makes a role may be it, and give it what is his: what an owner is elsewhere, and dumps count on.
    ...(server.major >= 16 && { createrole_self_grant: 'set, inherit' }),
    logging_collector: 'off',
    log_destination: 'stderr',
    log_line_prefix: '%m [%p] %q%u@%d ',
    // Nothing cuts the statement that is logged beside an error, and one may be a gigabyte: errors come without it.
    log_min_error_statement: 'panic',
    log_parameter_max_length: '1kB',
    log_parameter_max_length_on_error: '0',
    ...server.chosen,
    shared_preload_libraries: librariesOf(server),
  };
}

/**
 * The same while a cluster is filled for the first time: what is lost by a crash is made anew, so nothing is waited for, and
 * as little as possible is written twice. Whoever ends it flushes its files.
 */
export const fillingSettings = (
  server: Parameters<typeof settings>[0],
): Readonly<Record<string, string>> => ({
  ...settings(server),
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_size: '1GB',
  autovacuum: 'off',
  shared_buffers: '64MB',
  maintenance_work_mem: '96MB',
  max_connections: '40',
});

/** With which a copy recovers that may have prepared transactions of whatever its parent allowed. */
export const recoverySettings = (
  server: Parameters<typeof settings>[0],
): Readonly<Record<string, string>> => ({
  ...settings(server),
  fsync: 'off',
  max_prepared_transactions: '1000',
});

/** Arguments of initdb; the data directory and the password's file come from the caller. */
export const initdbArgs = (major: number): readonly string[] => [
  `--username=${adminRole}`,
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  // Needs no locale of the machine, and sorts the same everywhere. Before version 17 it is the machine's, by the same name.
  ...(major >= 17
    ? ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
    : [process.platform === 'linux' ? '--locale=C.UTF-8' : '--locale=C']),
  // A backup ends with a segment switch, and a small database should not be mostly WAL: 4 MB instead of 16.
  '--wal-segsize=4',
  '--no-instructions',
  '--no-sync', // once for all files at the end is quicker
];

// --- internal ------------------------------------------------------------------------------------

function librariesOf({ countsStatements, chosen }: Parameters<typeof settings>[0]): string {
  const asked = (chosen?.shared_preload_libraries ?? '').split(',').map(name => name.trim());
  const all = countsStatements ? ['pg_stat_statements', ...asked] : asked;
  return [...new Set(all)].filter(name => name !== '').join(',');
}
