/** Statements on a branch, by the way that `offshoot sql` goes. */
import { nowhere, openSession } from '../../src/sql/session.ts';
import { jsonText } from '../../src/sql/values.ts';

export type SqlResult = {
  readonly fields: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
};

/** One text of statements, as one implicit transaction. @returns the results that have columns @throws as a session does */
export async function runSql(url: string, text: string, signal: AbortSignal): Promise<readonly SqlResult[]> {
  const session = await openSession(url, signal, { onNotice: () => {} });
  const results: { fields: string[]; types: number[]; rows: unknown[][] }[] = [];
  try {
    await session.run(Buffer.from(text), {
      ...nowhere,
      async fields(fields) {
        results.push({ fields: fields.map(f => f.name), types: fields.map(f => f.type), rows: [] });
      },
      async rows(rows) {
        const { types, rows: all } = results.at(-1)!;
        all.push(...rows.map(row => row.map((value, i) => JSON.parse(jsonText(value, types[i]!)))));
      },
    });
    return results;
  } finally {
    await session.close();
  }
}
