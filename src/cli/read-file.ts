/** Documents that commands are given: a file, a folder of YAML files, or `-` for standard input. */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';

/** `file` is how messages name it; `dir` is what paths inside it are relative to. */
export type SourceFile = {
  readonly file: string;
  readonly text: string;
  /** The real path, absolute; `-` for standard input. */
  readonly path: string;
};

/** @param maxInput bytes of standard input */
export async function readSource(cli: Cli, file: string, maxInput = 4 * 1024 * 1024): Promise<SourceFile> {
  if (file === '-') return { file: '<stdin>', text: await readAll(cli.stdin, maxInput), path: '-' };
  return readAs(file, resolve(cli.cwd, file));
}

/**
 * All `.yaml`, `.yml` and `.json` files of a folder in order of their names, or the one file.
 * @param recursive also those in folders below; not in hidden ones, and links to folders are not followed
 */
export async function readSources(
  cli: Cli,
  path: string,
  { recursive = false, maxInput }: { readonly recursive?: boolean; readonly maxInput?: number } = {},
): Promise<readonly SourceFile[]> {
  const full = resolve(cli.cwd, path);
  if (path === '-' || !statSync(full, { throwIfNoEntry: false })?.isDirectory())
    return [await readSource(cli, path, maxInput)];
  const names = namesIn(full, recursive);
  if (names.length === 0) {
    const deeper = !recursive && namesIn(full, true).length > 0 ? '; -R looks into the folders below' : '';
    throw new UsageError(`${path} holds no .yaml, .yml or .json file${deeper}`);
  }
  if (names.length > maxFiles) throw new UsageError(`${path} holds more than ${maxFiles} files`);
  return names.map(name => readAs(join(path, name), join(full, name)));
}

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

function namesIn(folder: string, recursive: boolean): readonly string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap(entry => {
    if (!entry.isDirectory()) return /\.(ya?ml|json)$/.test(entry.name) ? [entry.name] : [];
    if (!recursive || entry.name.startsWith('.')) return [];
    return namesIn(join(folder, entry.name), true).map(name => join(entry.name, name));
  });
}

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
