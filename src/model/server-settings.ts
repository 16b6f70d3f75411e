/**
 * Settings of a branch's server that a project may choose: by name, with the values that do no harm to others. What says where
 * files and sockets are, what runs programs, what a copy or its recovery hangs on, and what writes statements with passwords
 * into logs is none of them.
 */
import { OffshootError } from './errors.ts';

/** By name, as PostgreSQL's documentation writes it; values as PostgreSQL reads them. */
export type ServerSettings = Readonly<Record<string, string>>;

/** More than there are. */
export const MOST_SETTINGS = 200;

/**
 * Checks them, all at once.
 * @throws OffshootError settings/wrong
 */
export function checkSettings(settings: ServerSettings): void {
  const problems = Object.entries(settings).flatMap(([name, value]) => {
    const problem = problemOf(name, value);
    return problem === undefined ? [] : [problem];
  });
  if (problems.length > 0) throw new OffshootError('settings/wrong', { problems: problems.join('; ') });
}

/** What holds when some are changed; null: as it is without. @throws OffshootError settings/wrong */
export function settingsAfter(
  before: ServerSettings | undefined,
  changes: Readonly<Record<string, string | null>>,
): ServerSettings | undefined {
  const entries = Object.entries({ ...before, ...changes }).flatMap(([name, value]) =>
    value === null ? [] : [[name, value.trim()] as const],
  );
  const after = Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  checkSettings(Object.fromEntries(entries.filter(([name]) => name in changes)));
  return entries.length === 0 ? undefined : after;
}

/** Equal for equal settings, and empty for none. */
export const settingsKey = (settings: ServerSettings | undefined = {}): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join('\n');

/** Libraries that a server may load at its start; pg_stat_statements is there without being named. */
export const preloadable: readonly string[] = [
  ...['auto_explain', 'pg_hint_plan', 'pg_partman_bgw', 'pg_prewarm', 'pg_qualstats', 'pg_stat_kcache'],
  ...['pg_stat_statements', 'pg_wait_sampling', 'pgaudit', 'plpgsql_check'],
];

// --- internal -----------------------------------------------------------------------------------

/** Gives what is wrong with a value; undefined: nothing. */
type Rule = (value: string) => string | undefined;

const number =
  (least: number, most: number): Rule =>
  value =>
    /^-?\d{1,10}(\.\d{1,10})?$/.test(value) && Number(value) >= least && Number(value) <= most
      ? undefined
      : `is a number from ${least} to ${most}`;

const integer =
  (least: number, most: number): Rule =>
  value =>
    /^-?\d{1,10}$/.test(value) && Number(value) >= least && Number(value) <= most
      ? undefined
      : `is a whole number from ${least} to ${most}`;

const choice =
  (...values: readonly string[]): Rule =>
  value =>
    values.includes(value) ? undefined : `is one of ${values.join(', ')}`;

const bool: Rule = choice('on', 'off');

const KB = 1024;
const BYTES: Readonly<Record<string, number>> = { kB: KB, MB: KB ** 2, GB: KB ** 3 };

/** With its unit, which PostgreSQL would otherwise choose (§19.1.1); a bare -1 where that means something. */
const memory =
  (least: string, most: string, orNone = false): Rule =>
  value => {
    if (orNone && value === '-1') return undefined;
    const bytes = bytesOf(value);
    return bytes !== undefined && bytes >= bytesOf(least)! && bytes <= bytesOf(most)!
      ? undefined
      : `is a size from ${least} to ${most}${orNone ? ', or -1' : ''}`;
  };

function bytesOf(text: string): number | undefined {
  const match = /^(\d{1,9})(kB|MB|GB)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * BYTES[match[2]!]!;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

const time =
  (orNone = false): Rule =>
  value => {
    if (value === '0' || (orNone && value === '-1')) return undefined;
    const match = /^(\d{1,9})(ms|s|min|h|d)$/.exec(value);
    return match !== null && Number(match[1]) * UNITS[match[2]!]! <= 2_000_000_000
      ? undefined
      : `is a time such as 500ms, 30s, 5min or 2h, or ${orNone ? '-1' : '0'}`;
  };

/** Of a kind of which PostgreSQL knows more than we do: at its start, it says what it does not take. */
const word: Rule = value =>
  /^[A-Za-z0-9_./+:, -]{1,100}$/.test(value) ? undefined : 'is a word of letters, digits and _./+:,-';

const libraries: Rule = value => {
  const strange = value
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '' && !preloadable.includes(name));
  return strange.length === 0
    ? undefined
    : `may hold ${preloadable.join(', ')}, and not ${strange.join(', ')}`;
};

const COST = number(0, 1_000_000);

const RULES: Readonly<Record<string, Rule>> = {
  // What a start fixes.
  max_connections: integer(5, 2000),
  wal_level: choice('replica', 'logical'),
  shared_preload_libraries: libraries,
  shared_buffers: memory('1MB', '16GB'),
  max_prepared_transactions: integer(0, 1000),
  max_locks_per_transaction: integer(10, 10_000),
  max_pred_locks_per_transaction: integer(10, 10_000),
  max_worker_processes: integer(0, 64),
  max_replication_slots: integer(0, 100),
  track_activity_query_size: memory('1kB', '1MB'),
  track_commit_timestamp: bool,
  autovacuum_max_workers: integer(1, 10),
  'pg_stat_statements.max': integer(100, 100_000),
  'pg_stat_statements.track': choice('top', 'all', 'none'),
  // Memory.
  work_mem: memory('64kB', '8GB'),
  maintenance_work_mem: memory('1MB', '8GB'),
  autovacuum_work_mem: memory('1MB', '8GB', true),
  logical_decoding_work_mem: memory('64kB', '8GB'),
  temp_buffers: memory('1MB', '8GB'),
  temp_file_limit: memory('1MB', '1000GB', true),
  effective_cache_size: memory('1MB', '1000GB'),
  hash_mem_multiplier: number(1, 1000),
  // Plans.
  ...Object.fromEntries(
    ['async_append', 'bitmapscan', 'gathermerge', 'hashagg', 'hashjoin', 'incremental_sort', 'indexonlyscan']
      .concat(['indexscan', 'material', 'memoize', 'mergejoin', 'nestloop', 'parallel_append'])
      .concat(['parallel_hash', 'partition_pruning', 'partitionwise_aggregate', 'partitionwise_join'])
      .concat(['seqscan', 'sort', 'tidscan'])
      .map(name => [`enable_${name}`, bool]),
  ),
  ...Object.fromEntries(
    ['seq_page_cost', 'random_page_cost', 'cpu_tuple_cost', 'cpu_index_tuple_cost', 'cpu_operator_cost']
      .concat(['parallel_setup_cost', 'parallel_tuple_cost'])
      .map(name => [name, COST]),
  ),
  effective_io_concurrency: integer(0, 1000),
  default_statistics_target: integer(1, 10_000),
  from_collapse_limit: integer(1, 1000),
  join_collapse_limit: integer(1, 1000),
  geqo: bool,
  geqo_threshold: integer(2, 1000),
  cursor_tuple_fraction: number(0, 1),
  constraint_exclusion: choice('partition', 'on', 'off'),
  plan_cache_mode: choice('auto', 'force_generic_plan', 'force_custom_plan'),
  jit: bool,
  jit_above_cost: number(-1, 1_000_000_000),
  max_parallel_workers: integer(0, 64),
  max_parallel_workers_per_gather: integer(0, 64),
  max_parallel_maintenance_workers: integer(0, 64),
  // Time.
  ...Object.fromEntries(
    ['statement_timeout', 'lock_timeout', 'deadlock_timeout', 'idle_in_transaction_session_timeout']
      .concat(['idle_session_timeout', 'transaction_timeout'])
      .map(name => [name, time()]),
  ),
  // What clients get.
  ...Object.fromEntries(
    ['DateStyle', 'TimeZone', 'IntervalStyle', 'default_text_search_config'].map(name => [name, word]),
  ),
  bytea_output: choice('hex', 'escape'),
  extra_float_digits: integer(-15, 3),
  default_transaction_isolation: choice('read committed', 'repeatable read', 'serializable'),
  default_transaction_read_only: bool,
  default_transaction_deferrable: bool,
  default_toast_compression: choice('pglz', 'lz4'),
  client_min_messages: choice('debug1', 'log', 'notice', 'warning', 'error'),
  // Writing.
  synchronous_commit: choice('on', 'local', 'off'),
  wal_compression: choice('on', 'off', 'pglz', 'lz4', 'zstd'),
  checkpoint_timeout: time(),
  max_wal_size: memory('32MB', '64GB'),
  max_slot_wal_keep_size: memory('64MB', '1000GB', true),
  autovacuum: bool,
  autovacuum_naptime: time(),
  autovacuum_vacuum_scale_factor: number(0, 100),
  autovacuum_analyze_scale_factor: number(0, 100),
  autovacuum_vacuum_threshold: integer(0, 2_000_000_000),
  autovacuum_analyze_threshold: integer(0, 2_000_000_000),
  autovacuum_vacuum_cost_limit: integer(-1, 10_000),
  autovacuum_vacuum_cost_delay: number(-1, 100),
  // What its log and its views tell.
  log_connections: bool,
  log_disconnections: bool,
  log_lock_waits: bool,
  log_checkpoints: bool,
  log_temp_files: memory('1kB', '1000GB', true),
  log_autovacuum_min_duration: time(true),
  track_io_timing: bool,
  track_functions: choice('none', 'pl', 'all'),
  'auto_explain.log_min_duration': time(true),
  'auto_explain.sample_rate': number(0, 1),
  'auto_explain.log_format': choice('text', 'xml', 'json', 'yaml'),
  ...Object.fromEntries(
    ['analyze', 'buffers', 'timing', 'nested_statements', 'verbose', 'triggers', 'settings', 'wal'].map(
      name => [`auto_explain.log_${name}`, bool],
    ),
  ),
};

/** As people write them: letters of either case. */
const BY_LETTERS = new Map(Object.keys(RULES).map(name => [name.toLowerCase(), name]));

function problemOf(name: string, value: string): string | undefined {
  const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
  if (rule === undefined) {
    const meant = BY_LETTERS.get(name.toLowerCase());
    return meant === undefined ? `${name} cannot be set for a server` : `${name} is written ${meant}`;
  }
  const problem = rule(value);
  return problem === undefined ? undefined : `${name} ${problem}`;
}
