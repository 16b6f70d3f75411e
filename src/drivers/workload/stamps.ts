/** What was done in which folder, on disk: one file for each task, below `prepared` of the data directory. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PreparationStep } from './code.ts';

export type Stamp = {
  readonly digest: string;
  /** Folders that it has made. */
  readonly results: readonly string[];
  /** By which it may be done for a copy of that folder, too; absent: it may not. */
  readonly copies?: {
    readonly folder: string;
    /** The same for every folder in which the same has to be done. */
    readonly wish: string;
    /** What it has written beside its results: path in the folder → digest. */
    readonly beside: Readonly<Record<string, string>>;
  };
};

export type Stamps = Readonly<Partial<Record<PreparationStep['name'], Stamp>>>;

/** @param folder of a task */
export function readStamps(folder: string): Stamps {
  try {
    return JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as Stamps;
  } catch {
    return {};
  }
}

export function writeStamp(folder: string, step: PreparationStep['name'], stamp: Stamp): void {
  const file = join(folder, FILE);
  rmSync(`${file}.new`, { force: true });
  writeFileSync(`${file}.new`, JSON.stringify({ ...readStamps(folder), [step]: stamp }), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Those of all tasks. @param root where their folders are */
export async function allStamps(root: string): Promise<readonly Stamps[]> {
  const names = await readdir(root).catch(() => []);
  const read = names.map(name =>
    readFile(join(root, name, FILE), 'utf8').then(
      text => JSON.parse(text) as Stamps,
      () => ({}), // it has done nothing yet, or is written just now
    ),
  );
  return await Promise.all(read);
}

// --- internal -----------------------------------------------------------------------------------

const FILE = 'stamps.json';
