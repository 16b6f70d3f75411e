/** The table that every branch has, and what holds in it: each batch whole, each text what its key says, each index right. */
import pg from 'pg';

/** To be run once, in `main`. */
export const schema = `CREATE EXTENSION amcheck;
CREATE TABLE batches (batch int, part int, text text NOT NULL, PRIMARY KEY (batch, part));
CREATE INDEX ON batches (text);`;

/** One transaction. */
export const writeBatch = (url: string, batch: number): Promise<unknown> =>
  session(url, client =>
    client.query(
      `INSERT INTO batches SELECT $1::int, part, md5($1::int || ':' || part) || repeat('x', part * 200)
       FROM generate_series(1, $2::int) part`,
      [batch, partsOf(batch)],
    ),
  );

export type Contents = { readonly batches: ReadonlySet<number>; readonly faults: readonly string[] };

/** All that a branch holds, and what is torn in it (amcheck: every index against its table, and the table itself). */
export const readBatches = (url: string): Promise<Contents> =>
  session(url, async client => {
    const { rows } = await client.query<{ batch: number; parts: number; good: boolean }>(
      `SELECT batch, count(*)::int AS parts,
              bool_and(text = md5(batch || ':' || part) || repeat('x', part * 200)) AS good
       FROM batches GROUP BY batch`,
    );
    const faults = rows.flatMap(({ batch, parts, good }) => [
      ...(parts === partsOf(batch) ? [] : [`batch ${batch} has ${parts} of ${partsOf(batch)} rows`]),
      ...(good ? [] : [`batch ${batch} says something else`]),
    ]);
    const torn = await client.query<{ msg: string }>(`SELECT msg FROM verify_heapam('batches')`);
    await client.query(
      `SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = 'batches'::regclass`,
    );
    return {
      batches: new Set(rows.map(({ batch }) => batch)),
      faults: [...faults, ...torn.rows.map(({ msg }) => msg)],
    };
  });

// --- internal -----------------------------------------------------------------------------------

const deadlineMs = 60_000;

const partsOf = (batch: number): number => 1 + (batch % 7);

async function session<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    ...{ connectionString, query_timeout: deadlineMs, connectionTimeoutMillis: deadlineMs },
  });
  client.on('error', () => {}); // the next statement hears of it
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}
