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

export async function readSource(cli: Cli, file: string): Promise<SourceFile> {
  if (file === '-') return { file: '<stdin>', text: await readAll(cli.stdin), path: '-' };
  return readAs(file, resolve(cli.cwd, file));
}

/** All `.yaml`, `.yml` and `.json` files of a folder in order of their names, or the one file. */
export async function readSources(cli: Cli, path: string): Promise<readonly SourceFile[]> {
  if (path === '-') return [await readSource(cli, path)];
  const full = resolve(cli.cwd, path);
  if (!statSync(full, { throwIfNoEntry: false })?.isDirectory()) return [await readSource(cli, path)];
  const names = readdirSync(full).filter(name => /\.(ya?ml|json)$/.test(name));
  if (names.length === 0) throw new UsageError(`${path} holds no .yaml, .yml or .json file`);
  return names.sort().map(name => readAs(join(path, name), join(full, name)));
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

const maxInput = 4 * 1024 * 1024;

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > maxInput) throw new UsageError('standard input is larger than 4 MiB');
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks).toString('utf8');
}
