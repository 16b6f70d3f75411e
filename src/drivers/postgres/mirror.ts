/**
 * An installation before version 18 with some extensions trusted that its own files do not trust. Where PostgreSQL has its
 * shared files and libraries it finds out from where its program is (path.c, make_relative_path; resolving links before): so a
 * copy of the program lies in a tree like the one that it comes from, in which all else is a link, but for the control files.
 */
import { chmod, copyFile, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { exists } from '../../lib/exists.ts';
import { OffshootError } from '../../model/errors.ts';
import { shareOf, trustedControls } from './extensions.ts';
import type { ServerUser } from './user.ts';

export type Mirror = {
  /** Directory of `postgres` and `initdb` in the tree. */
  readonly bin: string;
  readonly countsStatements: boolean;
  close(): Promise<void>;
};

/**
 * @param bin directory of `postgres` and `initdb`
 * @param root ours, made here; `user` must be able to enter what is above it
 */
export async function mirrored(bin: string, user: ServerUser, root: string): Promise<Mirror> {
  const share = await shareOf(bin, user);
  const own = join(root, bin);
  const [theirs, ours] = [join(share, EXTENSIONS), join(root, share, EXTENSIONS)];
  const controls = await trustedControls(theirs);
  const names = await readdir(theirs).catch((): string[] => []);
  const close = () => rm(root, { recursive: true, force: true });
  const mirror = { bin: own, countsStatements: controls.has('pg_stat_statements'), close };
  const { size, mtimeMs } = await stat(join(bin, PROGRAMS[0]!));
  const stamp = JSON.stringify([size, mtimeMs, names, [...controls]]);
  // Of a daemon before us: its servers may still load libraries by it.
  if ((await readFile(join(root, STAMP), 'utf8').catch(() => '')) === stamp) return mirror;
  await close();
  await folder(own);
  for (const program of PROGRAMS) {
    await copyFile(join(bin, program), join(own, program));
    await chmod(join(own, program), 0o755);
  }
  const libraries = join(dirname(bin), 'lib');
  if (!(await exists(libraries)))
    throw new OffshootError('postgres/unusable', { path: bin, why: `there is no folder ${libraries}` });
  await symlink(libraries, join(root, libraries));
  await folder(join(root, share));
  for (const name of await readdir(share))
    if (name !== EXTENSIONS) await symlink(join(share, name), join(root, share, name));
  await folder(ours);
  for (const name of names)
    if (!controls.has(basename(name, '.control'))) await symlink(join(theirs, name), join(ours, name));
  for (const [name, text] of controls) {
    await writeFile(join(ours, `${name}.control`), text);
    await chmod(join(ours, `${name}.control`), 0o644);
  }
  await writeFile(join(root, STAMP), stamp);
  return mirror;
}

// --- internal ------------------------------------------------------------------------------------

/** That find their files by where they are; initdb starts the other one beside it. */
const PROGRAMS = ['postgres', 'initdb'];

const EXTENSIONS = 'extension';
/** What it was made of. */
const STAMP = 'stamp';

/** With all above it in our tree, which others may enter. */
async function folder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  for (let at = path; first !== undefined && at.startsWith(first); at = dirname(at)) await chmod(at, 0o755);
}
