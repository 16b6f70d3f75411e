/** A client that commits numbered rows as fast as it can, and changes files around them, until it is disposed. */
import { asSuperuser, type TestBranches } from './postgres.ts';

export type Writer = AsyncDisposable & {
  /** Highest number whose commit the server has acknowledged; all from 1 up to it were. */
  readonly acknowledged: number;
};

/** Writes to the new table `load` of the branch `id`. Returns when the first rows are committed. */
export async function startWriter(b: TestBranches, id: string): Promise<Writer> {
  await b.sql(id, 'CREATE TABLE load (n int PRIMARY KEY, filler text)');
  const state = { acknowledged: 0, stopped: false };
  const { promise: begun, resolve: begin, reject: fail } = Promise.withResolvers<void>();
  const work = asSuperuser(b.options, id, async client => {
    const query = (text: string, params?: unknown[]) => client.query(text, params);
    for (let n = 1; !state.stopped; n++) {
      await query(`INSERT INTO load VALUES ($1, repeat(md5($1::int::text), 20))`, [n]);
      state.acknowledged = n;
      if (n === 100) begin();
      // A checkpoint moves the place where recovery begins, past changes that a naive copy has missed.
      if (n % 30 === 15) await query('CHECKPOINT');
      // Files that come, shrink and go while the branch is being made.
      if (n % 20 === 0) await query('CREATE TABLE churn AS SELECT * FROM load LIMIT 200');
      if (n % 20 === 10) await query('DROP TABLE IF EXISTS churn');
    }
  });
  work.catch(fail);
  await begun;
  return {
    get acknowledged() {
      return state.acknowledged;
    },
    async [Symbol.asyncDispose]() {
      state.stopped = true;
      await work;
    },
  };
}
