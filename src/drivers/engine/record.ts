/** Which containers are ours, on disk: one file for each part, written before its program runs. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '../../lib/boot.ts';
import type { ProcessId } from '../../lib/process.ts';
import { partKey } from '../labels.ts';

export type ContainerRecord = {
  readonly part: string;
  /** The engine's name of it. */
  readonly id: string;
  readonly logFile: string;
  /** Size of that when it was started, in bytes. */
  readonly logStart: number;
  /** Where the engine writes what it says; absent until it has been started. */
  readonly logPath?: string;
  /** Its program; absent until it has been started. */
  readonly leader?: ProcessId;
  /** By which it wants to be asked to end; default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** It has a limit of memory. */
  readonly limited?: true;
  /** Nobody wants it any more; it goes as soon as an engine answers. */
  readonly unwanted?: true;
};

export function writeRecord(folder: string, record: ContainerRecord): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `${partKey(record.part)}.json`);
  writeFileSync(`${file}.new`, JSON.stringify({ boot: bootId(), ...record }), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

export const removeRecord = (folder: string, part: string): void =>
  rmSync(join(folder, `${partKey(part)}.json`), { force: true });

/** Pids of an earlier life of the machine mean nothing, so those records come without. */
export function readRecords(folder: string): readonly ContainerRecord[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return []; // no container was ever started
  }
  return names.flatMap(name => {
    try {
      const { boot, ...record } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
        boot: string;
      } & ContainerRecord;
      if (typeof record.part !== 'string' || typeof record.id !== 'string') throw new Error('no record');
      const { leader, ...rest } = record;
      return [boot === bootId() ? record : rest];
    } catch {
      rmSync(join(folder, name), { force: true });
      return [];
    }
  });
}
