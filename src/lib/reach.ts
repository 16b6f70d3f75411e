/** Which directory keeps a user from reaching a path. Judged by owner and mode bits (path_resolution(7)). */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

export type UserIds = { readonly uid: number; readonly gid: number };

/** The topmost directory on the way to and including `path` that `user` may not enter; undefined when there is none. */
export async function blockedAt(path: string, user: UserIds): Promise<string | undefined> {
  if (user.uid === 0) return undefined;
  for (const directory of ancestors(resolve(path))) {
    const { uid, gid, mode } = await stat(directory);
    const enter = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & enter) === 0) return directory;
  }
  return undefined;
}

/** Root first, the path itself last. */
function ancestors(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...ancestors(parent), path];
}
