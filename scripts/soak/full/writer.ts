/** A client that writes row after row, and remembers which of them were acknowledged. */
import pg from 'pg';
import { delay, until } from '../../../src/lib/wait.ts';

export type Writer = {
  readonly branch: string;
  /** Statements that failed, and logins that were refused, so far. */
  readonly failures: readonly string[];
  readonly acknowledged: number;
  /** Waits until one more row is written than now. @throws DeadlineError */
  writes(deadlineMs?: number): Promise<void>;
  /** Ends it. @returns how many rows that were acknowledged are not there */
  end(): Promise<number>;
};

/** @param connectionString asked for again with each session: ports may change from daemon to daemon */
export async function startWriter(branch: string, connectionString: () => Promise<string>): Promise<Writer> {
  const acknowledged = new Set<number>();
  const failures: string[] = [];
  let over = false;
  let next = 0;
  const session = async (work: (client: pg.Client) => Promise<void>): Promise<void> => {
    const client = new pg.Client({
      connectionString: await connectionString(),
      ...{ connectionTimeoutMillis: 20_000, query_timeout: 20_000 },
    });
    client.on('error', () => {}); // the next statement hears of it
    try {
      await client.connect();
      await work(client);
    } finally {
      await client.end().catch(() => {});
    }
  };
  const write = async (): Promise<void> => {
    while (!over) {
      try {
        await session(async client => {
          while (!over) {
            const n = next++;
            await client.query('INSERT INTO kept VALUES ($1)', [n]);
            acknowledged.add(n);
            await delay(20);
          }
        });
      } catch (error) {
        failures.push(`${branch}: ${(error as { code?: string }).code ?? ''} ${(error as Error).message}`);
        await delay(50);
      }
    }
  };
  await session(async client => void (await client.query('CREATE TABLE IF NOT EXISTS kept (n int)')));
  const work = write();
  return {
    ...{ branch, failures },
    get acknowledged() {
      return acknowledged.size;
    },
    async writes(deadlineMs = 30_000) {
      const before = acknowledged.size;
      const what = `a row on ${branch} (last: ${failures.at(-1)})`;
      await until(() => acknowledged.size > before || undefined, { what, deadlineMs });
    },
    async end() {
      over = true;
      await work;
      let lost = acknowledged.size;
      await session(async client => {
        const { rows } = await client.query<{ n: number }>('SELECT n FROM kept');
        const there = new Set(rows.map(({ n }) => n));
        lost = [...acknowledged].filter(n => !there.has(n)).length;
      });
      return lost;
    },
  };
}
