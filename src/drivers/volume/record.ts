/** `volume.json`: what a volume is, written beside its data, so that the disk alone tells it. */
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OffshootError } from '../../model/errors.ts';
import type { VolumeRecord } from '../contract.ts';

const FILE = 'volume.json';

/** Writes the record of the volume in `directory`, durably; whatever record was there is replaced. */
export async function writeRecord(directory: string, record: VolumeRecord): Promise<void> {
  const path = join(directory, FILE);
  await rm(path, { force: true }); // a snapshot brings its parent's record along
  await using file = await open(path, 'wx', 0o600);
  await file.writeFile(`${JSON.stringify(record, null, 2)}\n`);
  await file.sync();
}

/**
 * @returns undefined when there is no volume in `directory`
 * @throws OffshootError volume/record-unreadable
 */
export async function readRecord(directory: string): Promise<VolumeRecord | undefined> {
  const path = join(directory, FILE);
  try {
    return parse(await readFile(path, 'utf8'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OffshootError(
      'volume/record-unreadable',
      { path, why: cause instanceof Error ? cause.message : String(cause) },
      { cause },
    );
  }
}

// --- internal ------------------------------------------------------------------------------------

function parse(text: string): VolumeRecord {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('it is not an object');
  const field = (name: keyof VolumeRecord): string => {
    const found = (value as Record<string, unknown>)[name];
    if (typeof found !== 'string') throw new Error(`its field "${name}" is not a text`);
    return found;
  };
  return {
    id: field('id'),
    project: field('project'),
    branch: field('branch'),
    ...('parent' in value ? { parent: field('parent') } : {}),
    createdAt: field('createdAt'),
  };
}
