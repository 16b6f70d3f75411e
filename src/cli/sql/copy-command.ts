/** `\copy`: rows between the branch and a file of this machine (psql, "\copy"). */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { fileError } from '../../sql/files.ts';
import { decoded } from '../../sql/scanner.ts';
import { fileBytes } from '../../sql/source.ts';
import type { UsageError } from '../output.ts';
import type { Script } from './script.ts';

/** @throws UsageError when a file cannot be read or written; what the statement throws */
export async function copyCommand(
  script: Script,
  rest: string,
  refuse: (why: string) => UsageError,
): Promise<void> {
  const { what, direction, target, options } = parts(rest, refuse);
  const statement = (end: string) => `COPY ${what} ${direction.toUpperCase()} ${end} ${options}`.trim();
  if (direction === 'from') {
    const rows = {
      stdin: () => script.sources.at(-1)!.rows(),
      pstdin: () => script.cli.stdin as AsyncIterable<Buffer>,
    };
    const copyIn = rows[target as keyof typeof rows] ?? (() => fileBytes(fileOf(target), target));
    return script.run(statement('STDIN'), { copyIn });
  }
  if (target === 'stdout' || target === 'pstdout') return script.run(statement('STDOUT'));
  const file = await openToWrite(fileOf(target), refuse);
  try {
    await script.run(statement('STDOUT'), { copyOut: file.write });
  } finally {
    await file.close();
  }

  function fileOf(text: string): string {
    const name = /^'/.test(text) ? text.slice(1, -1).replaceAll("''", "'") : text;
    return resolve(script.cli.cwd, decoded(name));
  }
}

/** A file that takes text as fast as it can be written. @throws UsageError */
export async function openToWrite(
  path: string,
  refuse: (why: string) => UsageError,
): Promise<{ write(text: string | Uint8Array): Promise<void>; close(): Promise<void> }> {
  const stream = createWriteStream(path);
  const failed = once(stream, 'error').then(([error]) => {
    throw refuse(`cannot write ${path}: ${fileError(error)}`);
  });
  failed.catch(() => {});
  await Promise.race([once(stream, 'open'), failed]);
  return {
    async write(text) {
      if (!stream.write(text)) await Promise.race([once(stream, 'drain'), failed]);
    },
    async close() {
      if (stream.errored) await failed;
      stream.end();
      if (!stream.closed) await Promise.race([once(stream, 'close'), failed]);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Parts = { what: string; direction: 'from' | 'to'; target: string; options: string };

function parts(rest: string, refuse: (why: string) => UsageError): Parts {
  const words = [...rest.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[^\s()'"]+|\s+/g)];
  let depth = 0;
  for (const [i, { 0: word, index }] of words.entries()) {
    depth += word === '(' ? 1 : word === ')' ? -1 : 0;
    if (depth > 0 || !/^(from|to)$/i.test(word) || i === 0) continue;
    const after = /^\s+('(?:[^']|'')*'|\S+)(.*)$/s.exec(rest.slice(index + word.length));
    if (after === null) break;
    if (/^program$/i.test(after[1]!)) throw refuse('programs are not run from here');
    const target = /^p?std(in|out)$/i.test(after[1]!) ? after[1]!.toLowerCase() : after[1]!;
    const direction = word.toLowerCase() as 'from' | 'to';
    return {
      what: rest.slice(0, index).trim(),
      direction,
      target,
      options: after[2]!.trim().replace(/;$/, ''),
    };
  }
  throw refuse('it goes "\\copy TABLE|(QUERY) from|to FILE|stdin|stdout [OPTIONS]"');
}
