/** The data directory's making, and its end when what it was made for did not come to be. */
import { mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mounts } from './lib/mounts.ts';
import { OffshootError } from './model/errors.ts';

export type Home = {
  /** Where `up --detach` writes what its daemon says. */
  readonly outFile: string;
  /**
   * Removes what has been written to a directory that held no data when it was opened, and the folders that were made
   * for it. One that held some stays as it is.
   */
  takeBack(): Promise<void>;
};

/** Makes the data directory. @throws OffshootError config/invalid when the machine does not allow it */
export function makeHome(home: string): Home {
  const logs = join(home, 'logs');
  const outFile = join(logs, 'daemon.out');
  const fresh = isFresh(home);
  const first = makeFolders(home, logs);
  return {
    outFile,
    async takeBack() {
      const inUse = (await mounts().catch(() => [])).some(m => m.target.startsWith(`${home}/`));
      if (fresh && !inUse)
        for (const entry of entriesOf(home)) rmSync(join(home, entry), { recursive: true, force: true });
      if (first === undefined) return;
      for (let dir = logs; dir.length >= first.length; dir = dirname(dir)) {
        try {
          rmdirSync(dir);
        } catch (error) {
          // Not ours any more when there is something in it.
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
        }
      }
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Nothing is in it, or only what `up --detach` made for the daemon that it has just started. */
function isFresh(home: string): boolean {
  const isOnly = (dir: string, name: string) => entriesOf(dir).every(entry => entry === name);
  return isOnly(home, 'logs') && isOnly(join(home, 'logs'), 'daemon.out');
}

function entriesOf(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** @returns the first folder that was not there */
function makeFolders(home: string, logs: string): string | undefined {
  try {
    return mkdirSync(logs, { recursive: true });
  } catch (cause) {
    const why = `the folder cannot be made (${(cause as NodeJS.ErrnoException).code})`;
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_HOME', value: home, why }, { cause });
  }
}
