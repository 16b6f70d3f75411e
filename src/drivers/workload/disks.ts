/**
 * Disks of claims: folders that outlive pods. Those of the baseline belong to their claims and go only when somebody
 * says so; those of forks belong to all forks of one owner that name the claim, and go with the last of them.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../../lib/exec.ts';
import { KeyedLock } from '../../lib/lock.ts';
import type { Disk } from '../../model/claims.ts';
import type { Ctx } from '../contract.ts';
import { pathId, pathName } from '../labels.ts';

export type Disks = {
  /** Folder of a disk of the baseline. */
  baseline(namespace: string, claim: string): string;
  /** Folder of a disk of an owner's forks. */
  fork(owner: string, namespace: string, claim: string): string;
  /** Runs `make` while nobody else makes the disk at `place`. */
  alone<T>(place: string, make: () => Promise<T>): Promise<T>;
  /** Of the baseline. */
  list(): Promise<readonly Disk[]>;
  /** As du(1) counts; undefined when that takes too long. */
  bytes(disk: Disk, ctx: Ctx): Promise<number | undefined>;
  /** Of the baseline; absent is success. */
  remove(namespace: string, claim: string): Promise<void>;
  /** Of an owner's forks, but those that are among `keep`, as `namespace/claim`. */
  removeForks(owner: string, keep: ReadonlySet<string>): Promise<void>;
  /** Owners whose forks have disks. */
  owners(): Promise<readonly string[]>;
};

/** @param home the data directory */
export function openDisks(home: string): Disks {
  const root = join(home, 'disks');
  const forksRoot = join(home, 'disks-of-forks');
  const locks = new KeyedLock();
  const at = (folder: string, namespace: string, claim: string) =>
    join(folder, pathName(namespace), pathName(claim));

  return {
    baseline: (namespace, claim) => at(root, namespace, claim),
    fork: (owner, namespace, claim) => at(join(forksRoot, pathName(owner)), namespace, claim),
    alone: (place, make) => locks.run(place, make),

    list: async () => (await disksIn(root)).map(({ namespace, claim }) => ({ namespace, claim })),

    bytes: ({ namespace, claim }, { signal }) => bytesOf(at(root, namespace, claim), signal),

    async remove(namespace, claim) {
      await rm(at(root, namespace, claim), { recursive: true, force: true });
    },

    async removeForks(owner, keep) {
      const folder = join(forksRoot, pathName(owner));
      for (const { namespace, claim, entry } of await disksIn(folder))
        if (!keep.has(`${namespace}/${claim}`))
          await locks.run(at(folder, namespace, claim), () => rm(entry, { recursive: true, force: true }));
      if (keep.size === 0) await rm(folder, { recursive: true, force: true });
    },

    owners: async () => (await entriesOf(forksRoot)).flatMap(name => pathId(name) ?? []),
  };
}

// --- internal -----------------------------------------------------------------------------------

type Found = { readonly namespace: string; readonly claim: string; readonly entry: string };

/** Also what belongs to a disk, or is half made. */
async function disksIn(folder: string): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const namespace of await entriesOf(folder))
    for (const claim of await entriesOf(join(folder, namespace))) {
      const entry = join(folder, namespace, claim);
      const [ns, own] = [pathId(namespace), pathId(claim)];
      if (ns !== undefined && own !== undefined && (await isFolder(entry)))
        found.push({ namespace: ns, claim: own, entry });
    }
  return found;
}

async function bytesOf(folder: string, signal: AbortSignal): Promise<number | undefined> {
  const counted = exec('du', ['-sk', '--', folder], {
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    deadlineMs: COUNT_MS,
    signal,
  });
  const text = await counted.then(
    ({ stdout }) => stdout,
    () => '',
  );
  const [kibibytes] = /^\d+/.exec(text) ?? [];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}

const COUNT_MS = 5_000;

const entriesOf = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    found => found.isDirectory(),
    () => false,
  );
