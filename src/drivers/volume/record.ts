/** `volume.json`: what a volume is, written beside its data, so that the disk alone tells it. */
import { open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../lib/sync.ts';
import type { BranchRecord } from '../../model/branch.ts';
import { OffshootError } from '../../model/errors.ts';

const FILE = 'volume.json';

/**
 * Writes the record of the volume in `directory`, durably; whatever record was there is replaced, at once.
 * @param place where a commit comes later for all: what makes the record's content a part of that
 */
export async function writeRecord(
  directory: string,
  record: BranchRecord,
  place?: (file: string) => Promise<void>,
): Promise<void> {
  const path = join(directory, FILE);
  {
    await using file = await open(`${path}.new`, 'w', 0o600);
    await file.writeFile(`${JSON.stringify(record, null, 2)}\n`);
    if (place === undefined) await file.sync();
  }
  await place?.(`${path}.new`);
  await rename(`${path}.new`, path);
  if (place === undefined) await syncDirectory(directory);
}

/**
 * @returns undefined when there is no volume in `directory`
 * @throws OffshootError volume/record-unreadable
 */
export async function readRecord(directory: string): Promise<BranchRecord | undefined> {
  const path = join(directory, FILE);
  try {
    const version = await versionOf(path);
    const before = read.get(path);
    if (before?.version === version) return before.record;
    const record = parse(await readFile(path, 'utf8'));
    read.set(path, { version, record });
    return record;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new OffshootError(
      'volume/record-unreadable',
      { path, why: cause instanceof Error ? cause.message : String(cause) },
      { cause },
    );
  }
}

/** To be called when the volume is gone. */
export const forgetRecord = (directory: string): void => void read.delete(join(directory, FILE));

// --- internal ------------------------------------------------------------------------------------

/** As they were read last: each step of a branch begins with a look at its record, which hardly ever changes. */
const read = new Map<string, { readonly version: string; readonly record: BranchRecord }>();

/**
 * Differs between any two records that a path has had: each is a new file, renamed. Never asked on the loop: a name that is
 * not there yet is looked for in a directory in which others are being made, for which btrfs may wait for its disk.
 */
async function versionOf(path: string): Promise<string> {
  const { dev, ino, size, ctimeNs } = await stat(path, { bigint: true });
  return `${dev} ${ino} ${size} ${ctimeNs}`;
}

function parse(text: string): BranchRecord {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null) throw new Error('it is not an object');
  const fields = value as Readonly<Record<string, unknown>>;
  const optional = <K extends keyof BranchRecord>(name: K): { readonly [N in K]?: string } => {
    const found = fields[name];
    if (found === undefined) return {};
    if (typeof found !== 'string') throw new Error(`its field "${name}" is not a text`);
    return { [name]: found } as { readonly [N in K]?: string };
  };
  const field = (name: keyof BranchRecord): string => {
    const found = optional(name)[name];
    if (found === undefined) throw new Error(`its field "${name}" is missing`);
    return found;
  };
  const { emptied, trashed, resets, imports, stock, history } = fields as Pick<
    BranchRecord,
    'emptied' | 'trashed' | 'resets' | 'imports' | 'stock' | 'history'
  >;
  return {
    id: field('id'),
    project: field('project'),
    branch: field('branch'),
    ...optional('parent'),
    ...optional('owner'),
    createdAt: field('createdAt'),
    ...optional('role'),
    ...optional('database'),
    ...(trashed && { trashed: { at: String(trashed.at), until: String(trashed.until) } }),
    ...(Number.isInteger(resets) && { resets }),
    ...(Number.isInteger(imports) && { imports }),
    ...(Array.isArray(emptied) && { emptied: emptied.map(String) }),
    ...((stock === 'base' || stock === 'prepared' || stock === 'history') && { stock }),
    ...(history && {
      history: { keepSeconds: Number(history.keepSeconds), everySeconds: Number(history.everySeconds) },
    }),
  };
}
