/** What was typed in earlier sessions; a file that nobody else reads. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

export type History = {
  /** The newest first, as readline wants them. */
  readonly lines: readonly string[];
  add(line: string): void;
  /** Adds to what is there by now; a disk that does not take it is no reason to fail. */
  save(): Promise<void>;
};

/** @param env OFFSHOOT_SQL_HISTORY names another file, empty: none. Default as the XDG Base Directory Specification has it */
export async function openHistory(env: Readonly<Record<string, string | undefined>>): Promise<History> {
  const state = env.XDG_STATE_HOME || join(env.HOME || homedir(), '.local', 'state');
  const file = env.OFFSHOOT_SQL_HISTORY ?? join(state, 'offshoot', 'sql_history');
  const added: string[] = [];
  const read = async (): Promise<readonly string[]> =>
    file === '' ? [] : (await readFile(file, 'utf8').catch(() => '')).split('\n').filter(Boolean);
  return {
    lines: (await read()).toReversed(),
    add(line) {
      if (line.trim() !== '' && !SECRET.test(line)) added.push(line);
    },
    async save() {
      if (file === '' || added.length === 0) return;
      try {
        await mkdir(dirname(file), { recursive: true, mode: 0o700 });
        const lines = [...(await read()), ...added].slice(-MOST_LINES);
        const next = `${file}.${process.pid}`;
        await writeFile(next, `${lines.join('\n')}\n`, { mode: 0o600 });
        await rename(next, file);
      } catch {
        // nothing depends on it
      }
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const MOST_LINES = 1_000;

/** What may hold a password is not written down. */
const SECRET = /password/i;
