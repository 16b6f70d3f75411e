/** Documents that commands are given: a file, a folder of YAML files, or `-` for standard input. */
import {
  createReadStream,
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { addAbortSignal } from 'node:stream';
import type { Cli } from './context.ts';
import { say, UsageError } from './output.ts';

/** `file` is how messages name it; `dir` is what paths inside it are relative to. */
export type SourceFile = {
  readonly file: string;
  readonly text: string;
  /** The real path, absolute; `-` for standard input. */
  readonly path: string;
  /** It is one of a folder that was named. */
  readonly found?: true;
};

/** @param maxInput bytes of standard input */
export async function readSource(cli: Cli, file: string, maxInput = 4 * 1024 * 1024): Promise<SourceFile> {
  if (file === '-') return { file: '<stdin>', text: await readAll(cli.stdin, maxInput), path: '-' };
  const full = resolve(cli.cwd, file);
  // Opened as a file it would hold us until somebody writes.
  if (isPipe(full)) {
    const stream = addAbortSignal(cli.signal, createReadStream(full));
    return { file, text: await readAll(stream, maxInput), path: '-' };
  }
  return readAs(file, full);
}

/**
 * All `.yaml`, `.yml` and `.json` files of a folder in order of their names, or the one file.
 * @param recursive also those in folders below; not in hidden ones, in node_modules and in charts of Helm, and links to
 *   folders are not followed
 */
export async function readSources(
  cli: Cli,
  path: string,
  { recursive = false, maxInput }: { readonly recursive?: boolean; readonly maxInput?: number } = {},
): Promise<readonly SourceFile[]> {
  const full = resolve(cli.cwd, path);
  if (path === '-' || !statOf(full)?.isDirectory()) return [await readSource(cli, path, maxInput)];
  if (isChart(full))
    throw new UsageError(
      `${path} is a chart of Helm, which has to render it: helm template ${basename(full)} ${path} | offshoot deploy -f -`,
    );
  const { names, charts, others } = namesIn(full, recursive);
  for (const other of others) say(cli, `left out: ${join(path, other)} is no file that can be read`);
  for (const chart of charts)
    say(cli, `left out: ${join(path, chart)} is a chart of Helm; "helm template" renders it`);
  if (names.length === 0) {
    const deeper =
      !recursive && namesIn(full, true).names.length > 0 ? '; -R looks into the folders below' : '';
    throw new UsageError(`${path} holds no .yaml, .yml or .json file${deeper}`);
  }
  if (names.length > maxFiles) throw new UsageError(`${path} holds more than ${maxFiles} files`);
  return names.map(name => ({ ...readAs(join(path, name), join(full, name)), found: true }));
}

/** `-f <(helm template …)`: it comes from no folder, as standard input does. */
export const isPipe = (full: string): boolean => statOf(full)?.isFIFO() === true;

export function readText(full: string, shown: string): string {
  try {
    return readFileSync(full, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it does not exist' : code === 'EISDIR' ? 'it is a folder' : String(code);
    throw new UsageError(`cannot read ${shown}: ${why}`);
  }
}

// --- internal -----------------------------------------------------------------------------------

const readAs = (shown: string, full: string): SourceFile => ({
  ...{ file: shown, text: readText(full, shown), path: realpathSync(full) },
});

const maxFiles = 10_000;

type Found = {
  readonly names: readonly string[];
  readonly charts: readonly string[];
  /** Links that lead nowhere, pipes and the like. */
  readonly others: readonly string[];
};

/** Our own file is none of those that somebody deploys. */
function namesIn(folder: string, recursive: boolean): Found {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  const names: string[] = [];
  const charts: string[] = [];
  const others: string[] = [];
  for (const entry of entries) {
    const full = join(folder, entry.name);
    if (!entry.isDirectory()) {
      if (!/\.(ya?ml|json)$/.test(entry.name) || entry.name === 'offshoot.yaml') continue;
      (statOf(full)?.isFile() ? names : others).push(entry.name);
    } else if (!recursive || entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    else if (isChart(full)) charts.push(entry.name);
    else {
      const below = namesIn(full, true);
      names.push(...below.names.map(name => join(entry.name, name)));
      charts.push(...below.charts.map(name => join(entry.name, name)));
      others.push(...below.others.map(name => join(entry.name, name)));
    }
  }
  return { names, charts, others };
}

/** undefined: it is not there, or a link leads nowhere. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

const isChart = (folder: string): boolean => existsSync(join(folder, 'Chart.yaml'));

async function readAll(stream: NodeJS.ReadableStream, maxInput: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > maxInput) throw new UsageError(`standard input is larger than ${maxInput / 2 ** 20} MiB`);
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks).toString('utf8');
}
