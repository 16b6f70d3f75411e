/** What a running server knows of the work that it does for a branch. */

export type BranchInsight = {
  /** RFC 3339: when it was read; and since when the server runs. */
  readonly at: string;
  readonly startedAt: string;
  readonly sessions: {
    /** Of all, with those that only wait for their client. */
    readonly open: number;
    readonly active: number;
    readonly idleInTransaction: number;
    /** Of the active ones: for a lock of another one. */
    readonly blocked: number;
    /** That may be open at once. */
    readonly most: number;
  };
  /** Sums over the databases of the branch. */
  readonly transactions: { readonly committed: number; readonly rolledBack: number };
  /** Pages of 8 KiB: found in the server's own buffers, and asked of the system, whose cache may have had them. */
  readonly pages: { readonly hit: number; readonly read: number };
  readonly deadlocks: number;
  /** Written to temporary files. */
  readonly temporaryBytes: number;
  /** Of all its databases, as PostgreSQL counts them. */
  readonly databaseBytes: number;
  /** Statements that are under way, the oldest first. */
  readonly running: readonly RunningStatement[];
  /** Those that took most time in all, constants left out; absent: the server does not count them. */
  readonly statements?: readonly CountedStatement[];
};

export type RunningStatement = {
  readonly pid: number;
  readonly role: string;
  readonly ms: number;
  /** What it waits for, as pg_stat_activity names it. */
  readonly waits?: string;
  readonly text: string;
};

export type CountedStatement = {
  readonly text: string;
  readonly calls: number;
  readonly rows: number;
  /** Of all calls. */
  readonly ms: number;
};
