/** Results of statements as people and programs read them, written as they come: a result of any length needs little memory. */

import type { Sink } from '../../sql/session.ts';
import { type Field, jsonText, type Row } from '../../sql/values.ts';
import { legible } from '../legible.ts';
import { asYaml } from '../output.ts';

export type SqlFormat = 'table' | 'json' | 'yaml' | 'csv';

export type Show = Omit<Sink, 'copyIn'> & {
  /** After the last one, or an error. */
  end(failed: boolean): Promise<void>;
};

export type ShowOptions = {
  /** Resolves when the reader has taken it. */
  readonly write: (text: string | Uint8Array) => Promise<void>;
  readonly format: SqlFormat;
  /** One value a line, as `\x` has it. */
  readonly expanded?: () => boolean;
  /** Whether the statement that runs is the last one; asked only for a result that is long. */
  readonly last?: () => Promise<boolean>;
};

export function showResults(options: ShowOptions): Show {
  const { format } = options;
  if (format === 'table') return showTables(options);
  return format === 'csv'
    ? showCsv(options)
    : showObjects(options, format === 'json' ? jsonParts : yamlParts);
}

// --- internal -----------------------------------------------------------------------------------

/** Rows by which the widths of columns are known; later ones that are wider stand out. */
const MEASURED = 1_000;

function showTables({ write, expanded = () => false }: ShowOptions): Show {
  let fields: readonly Field[] | undefined;
  let widths: number[] | undefined;
  let held: Row[] = [];
  let count = 0;
  const line = (cells: readonly (string | null)[]): string =>
    cells
      .map((cell, i) => (i === cells.length - 1 ? (cell ?? '') : (cell ?? '').padEnd(widths![i]!)))
      .join('  ')
      .trimEnd();
  const put = async (rows: readonly Row[]): Promise<void> => {
    const lines: string[] = [];
    if (expanded()) lines.push(...rows.map(row => expandedText(fields!, row, ++count)));
    else {
      if (widths === undefined) {
        const names = fields!.map(field => field.name);
        widths = names.map((name, i) =>
          rows.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), name.length),
        );
        lines.push(line(names));
      }
      count += rows.length;
      for (const row of rows) lines.push(line(row));
    }
    if (lines.length > 0) await write(legible(`${lines.join('\n')}\n`));
  };
  return {
    async fields(found) {
      [fields, widths, held, count] = [found, undefined, [], 0];
    },
    async rows(rows) {
      if (widths !== undefined) return put(rows);
      held.push(...rows);
      if (held.length < MEASURED) return;
      await put(held);
      held = [];
    },
    async done(tag) {
      if (fields === undefined) return write(`${tag}\n`);
      if (widths === undefined) await put(held);
      [fields, held] = [undefined, []];
      await write(`(${count} ${count === 1 ? 'row' : 'rows'})\n`);
    },
    copyOut: write,
    end: async () => {},
  };
}

function expandedText(fields: readonly Field[], row: Row, number: number): string {
  const width = Math.max(...fields.map(field => field.name.length));
  return [
    `-[ RECORD ${number} ]-`,
    ...fields.map(({ name }, i) => `${name.padEnd(width)}  ${row[i] ?? ''}`.trimEnd()),
  ].join('\n');
}

/** RFC 4180, with line ends and quotes as psql has them; what has no rows is left away. */
function showCsv({ write }: ShowOptions): Show {
  const line = (cells: readonly (string | null)[]): string => `${cells.map(csvCell).join(',')}\n`;
  return {
    fields: fields => write(line(fields.map(field => field.name))),
    rows: rows => write(rows.map(line).join('')),
    done: async () => {},
    copyOut: write,
    end: async () => {},
  };
}

const csvCell = (cell: string | null): string =>
  cell !== null && (/[",\r\n]/.test(cell) || cell === '\\.')
    ? `"${cell.replaceAll('"', '""')}"`
    : (cell ?? '');

type Parts = {
  readonly begin: (fields: readonly Field[], list: boolean) => string;
  readonly row: (fields: readonly Field[], row: Row, first: boolean, list: boolean) => string;
  readonly end: (command: string, count: number, empty: boolean, list: boolean) => string;
  readonly list: {
    readonly open: string;
    readonly between: string;
    readonly close: string;
    readonly none: string;
  };
};

const jsonParts: Parts = {
  begin: fields => `{\n  "fields": ${JSON.stringify(fields.map(field => field.name))},\n  "rows": [`,
  row: (fields, row, first) =>
    `${first ? '' : ','}\n    {${fields.map(({ name, type }, i) => `${JSON.stringify(name)}: ${jsonText(row[i]!, type)}`).join(', ')}}`,
  end: (command, count, empty) =>
    `${empty ? '' : '\n  '}],\n  "command": ${JSON.stringify(command)},\n  "rowCount": ${count}\n}`,
  list: { open: '[', between: ',', close: ']\n', none: '[]\n' },
};

const yamlParts: Parts = {
  begin: (fields, list) =>
    `${list ? '- ' : ''}fields: ${JSON.stringify(fields.map(field => field.name))}\n${list ? '  ' : ''}rows:`,
  // JSON is YAML.
  row: (fields, row, _first, list) =>
    `\n${asYaml([
      JSON.parse(
        `{${fields.map(({ name, type }, i) => `${JSON.stringify(name)}:${jsonText(row[i]!, type)}`).join(',')}}`,
      ),
    ])
      .trimEnd()
      .replaceAll(/^/gm, list ? '    ' : '  ')}`,
  end: (command, count, empty, list) =>
    `${empty ? ' []' : ''}\n${list ? '  ' : ''}command: ${command}\n${list ? '  ' : ''}rowCount: ${count}\n`,
  list: { open: '', between: '', close: '', none: '[]\n' },
};

/** Of a first result so much is held until it is known whether there is another one. */
const MOST_HELD = 1024 * 1024;

/** One object for one result, a list for none or several; so the first waits until it is done, or long. */
function showObjects({ write, last = async () => false }: ShowOptions, parts: Parts): Show {
  let fields: readonly Field[] = [];
  let begun = false;
  let count = 0;
  let results = 0;
  /** Of the first result, both ways, while nobody knows which it is. */
  let held: { one: string; many: string } | undefined = { one: '', many: '' };
  let list = true;
  const put = async (part: (list: boolean) => string): Promise<void> => {
    if (held === undefined) return write(part(list));
    held = { one: held.one + part(false), many: held.many + part(true) };
    if (held.one.length > MOST_HELD) await settle(!(await last()));
  };
  const settle = async (many: boolean): Promise<void> => {
    const text = many ? parts.list.open + held!.many : held!.one;
    [held, list] = [undefined, many];
    await write(text);
  };
  const begin = async (found: readonly Field[]): Promise<void> => {
    if (results > 0 && held !== undefined) await settle(true);
    if (results > 0) await write(parts.list.between);
    [fields, begun, count] = [found, true, 0];
    await put(many => parts.begin(found, many));
  };
  return {
    fields: begin,
    async rows(rows) {
      const before = count;
      count += rows.length;
      await put(many => rows.map((row, i) => parts.row(fields, row, before + i === 0, many)).join(''));
    },
    async done(tag) {
      if (!begun) await begin([]);
      const { command, rowCount } = tagParts(tag);
      const empty = count === 0;
      begun = false;
      results++;
      await put(many => parts.end(command, rowCount, empty, many));
    },
    copyOut: write,
    async end(failed) {
      if (results === 0) {
        if (!failed) await write(parts.list.none);
      } else if (held !== undefined) await write(`${held.one}${held.one.endsWith('\n') ? '' : '\n'}`);
      else await write(list ? parts.list.close : parts === jsonParts ? '\n' : '');
    },
  };
}

/** Of what a server says when a statement is done, e.g. `INSERT 0 2`. */
function tagParts(tag: string): { command: string; rowCount: number } {
  return { command: tag.split(' ', 1)[0]!, rowCount: Number(/ (\d+)$/.exec(tag)?.[1] ?? 0) };
}
