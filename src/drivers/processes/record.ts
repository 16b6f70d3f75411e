/**
 * What runs, on disk: one file for each part, so that the next daemon knows exactly what this one has started. It may
 * be a newer one, and must not lose sight of anything: fields may come, those that are here stay as they are.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Group } from '../../lib/cgroups.ts';
import { keptFile } from '../../lib/kept-file.ts';
import type { ProcessId } from '../../lib/process.ts';
import { partKey } from '../labels.ts';

export type PartRecord = {
  readonly part: string;
  readonly leader: ProcessId;
  /** The user that it runs as. */
  readonly uid: number;
  /** Of the system; pids of an earlier one mean nothing (random(4), boot_id). */
  readonly boot: string;
  /** Absent where there are no control groups. */
  readonly group?: Group;
  /** See Program. */
  readonly alone?: true;
  /** What the part's driver wants to know later. */
  readonly notes?: Readonly<Record<string, string>>;
};

/** By rename: a reader finds the whole record or none. Not synced, because what a crash of the machine loses runs no more. */
export function writeRecord(folder: string, record: Omit<PartRecord, 'boot'>): void {
  const file = fileOf(folder, record.part);
  writeFileSync(`${file}.new`, textOf(record), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** What replaces a record that is there, off the loop: a rename over a file waits for the disk. See keptFile. */
export const keptRecord = (
  folder: string,
  part: string,
  record: () => Omit<PartRecord, 'boot'>,
): (() => Promise<void>) => keptFile(fileOf(folder, part), () => textOf(record()));

export const removeRecord = (folder: string, part: string): void =>
  rmSync(fileOf(folder, part), { force: true });

/** All records of this life of the machine. Files that are none are removed. */
export function readRecords(folder: string): readonly PartRecord[] {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return readdirSync(folder).flatMap(name => {
    const record = readRecord(join(folder, name));
    if (record?.boot === bootId()) return [record];
    rmSync(join(folder, name), { force: true });
    return [];
  });
}

// --- internal -----------------------------------------------------------------------------------

const fileOf = (folder: string, part: string): string => join(folder, `${partKey(part)}.json`);

const textOf = (record: Omit<PartRecord, 'boot'>): string => JSON.stringify({ boot: bootId(), ...record });

function readRecord(file: string): PartRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Partial<PartRecord>;
    const known = typeof record.part === 'string' && typeof record.leader?.pid === 'number';
    return known ? (record as PartRecord) : undefined;
  } catch {
    return undefined;
  }
}

let boot: string | undefined;

function bootId(): string {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    boot ??= ''; // another system than Linux
  }
  return boot;
}
