/** A dump as the source of an import: a file, a folder or a pipe, read here and sent to where branches are made. */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { bytesText } from '../model/bytes.ts';
import type { ImportFrom } from '../model/import.ts';
import { fileError } from '../sql/files.ts';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';
import { createProgress } from './progress.ts';

export type SentDump = {
  readonly from: ImportFrom;
  /** Takes it back: nobody uses it. */
  forget(): Promise<void>;
};

/** Whether that names a dump, and no server. */
export const isDump = (text: string): boolean => !/^(\w+:\/\/|project:)/.test(text);

/** @param text a path, or `-` for standard input @throws UsageError when it cannot be read; OffshootError import/*, api/* */
export async function sendDump(cli: Cli, text: string): Promise<SentDump> {
  const files = text === '-' ? [{ name: 'dump', bytes: undefined }] : await filesAt(cli, text);
  const total = files.reduce<number | undefined>(
    (sum, { bytes }) => (sum === undefined || bytes === undefined ? undefined : sum + bytes),
    0,
  );
  const { uploads } = cli.client();
  const { id } = await uploads.begin({ bytes: total });
  const progress = createProgress(cli);
  const step = (state: 'running' | 'done' | 'failed', bytes: number) => {
    const of = total === undefined ? '' : ` of ${bytesText(total)}`;
    progress.show([{ label: 'file sent', state, detail: `${bytesText(bytes)}${of}` }]);
  };
  let sent = 0;
  try {
    step('running', 0);
    for (const { name, path } of files as readonly FileOfDump[]) {
      const from = path === undefined ? (cli.stdin as AsyncIterable<Buffer>) : createReadStream(path);
      let offset = 0;
      for await (const piece of inPieces(from, text)) {
        cli.signal.throwIfAborted();
        offset = (await uploads.append(id, name, offset, piece)).bytes;
        sent += piece.length;
        step('running', sent);
      }
      if (offset === 0) await uploads.append(id, name, 0, Buffer.alloc(0));
    }
    step('done', sent);
  } catch (error) {
    step('failed', sent);
    await uploads.remove(id).catch(() => {});
    throw error;
  } finally {
    progress.end();
  }
  const file = text === '-' ? 'standard input' : basename(resolve(cli.cwd, text));
  return {
    from: { file: { file, upload: id } },
    forget: () =>
      uploads.remove(id).then(
        () => {},
        () => {},
      ),
  };
}

// --- internal -----------------------------------------------------------------------------------

type FileOfDump = { readonly name: string; readonly path?: string; readonly bytes: number | undefined };

/** Bytes that go in one request. */
const PIECE = 4 * 1024 * 1024;

async function filesAt(cli: Cli, text: string): Promise<readonly FileOfDump[]> {
  const path = resolve(cli.cwd, text);
  try {
    const found = await stat(path);
    // A pipe has a name, too: <(zcat …)
    if (!found.isDirectory()) return [{ name: 'dump', path, bytes: found.isFile() ? found.size : undefined }];
    const names = await readdir(path);
    if (!names.includes('toc.dat'))
      throw new UsageError(`${text} is a folder without toc.dat, so pg_dump -Fd has not made it`);
    return await Promise.all(
      names.map(async name => ({ name, path: join(path, name), bytes: (await stat(join(path, name))).size })),
    );
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const why = fileError(error);
    const hint = why === 'it does not exist' ? ' (a server is named postgresql://…)' : '';
    throw new UsageError(`cannot read ${text}: ${why}${hint}`);
  }
}

async function* inPieces(bytes: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of bytes) {
      waiting.push(piece);
      size += piece.length;
      if (size < PIECE) continue;
      yield Buffer.concat(waiting);
      [waiting, size] = [[], 0];
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new UsageError(`cannot read ${name}: ${fileError(error)}`);
  }
  if (size > 0) yield Buffer.concat(waiting);
}
