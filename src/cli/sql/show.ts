/** Results of statements as people and programs read them, written as they come. */
import type { Cli, OutputFormat } from '../context.ts';
import { asYaml, table, write } from '../output.ts';
import type { SqlResult } from './session.ts';

export type Show = {
  result(result: SqlResult): Promise<void>;
  /** What COPY … TO stdout says: the bytes themselves. */
  copied(rows: Buffer): Promise<void>;
  /** After the last one, or an error. */
  end(failed: boolean): Promise<void>;
};

export function showResults(cli: Cli, format: OutputFormat): Show {
  const copied = (rows: Buffer) => write(cli, rows.toString('utf8'));
  if (format === 'text')
    return { result: result => write(cli, `${sqlText(result)}\n`), copied, end: async () => {} };
  return { ...showList(cli, format), copied };
}

export function sqlText({ command, rowCount, fields, rows }: SqlResult): string {
  if (fields.length === 0) return rowCount > 0 ? `${command} ${rowCount}` : command;
  const cells = rows.map(row => row.map(cell));
  return `${table(fields, cells)}\n(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`;
}

/** For `-o json|yaml`: rows as objects. */
export const sqlJson = ({ command, rowCount, fields, rows }: SqlResult) => ({
  command,
  rowCount,
  fields,
  rows: rows.map(row => Object.fromEntries(row.map((value, i) => [fields[i], value]))),
});

// --- internal -----------------------------------------------------------------------------------

/** One object for one result, a list for none or several; so the first waits for the second. */
function showList(cli: Cli, format: 'json' | 'yaml'): Pick<Show, 'result' | 'end'> {
  let first: object | undefined;
  let count = 0;
  const item = async (value: object): Promise<string> => {
    if (format === 'json') return JSON.stringify(value, null, 2).replaceAll(/^/gm, '  ');
    return asYaml([value]);
  };
  const open = async (value: object): Promise<void> =>
    write(cli, (format === 'json' ? '[\n' : '') + (await item(value)));
  return {
    async result(result) {
      const value = sqlJson(result);
      count++;
      if (count === 1) first = value;
      else {
        if (count === 2) await open(first!);
        await write(cli, (format === 'json' ? ',\n' : '') + (await item(value)));
      }
    },
    async end(failed) {
      if (failed && count === 0) return;
      if (count > 1) return write(cli, format === 'json' ? '\n]\n' : '');
      if (format === 'json') return write(cli, `${JSON.stringify(first ?? [], null, 2)}\n`);
      return write(cli, asYaml(first ?? []));
    },
  };
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
