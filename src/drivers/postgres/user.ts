/** The user that PostgreSQL runs as. It refuses root; everybody else runs it as himself. */
import { readFile } from 'node:fs/promises';
import type { UserIds } from '../../lib/reach.ts';
import { OffshootError } from '../../model/errors.ts';

export type ServerUser = UserIds & { readonly name: string };

const CANDIDATES = ['offshoot', 'postgres', 'nobody'];

/**
 * @param passwd content of passwd(5); default: this machine's
 * @throws OffshootError postgres/no-user
 */
export async function chooseServerUser(
  me: UserIds = { uid: process.getuid!(), gid: process.getgid!() },
  passwd?: string,
): Promise<ServerUser> {
  if (me.uid !== 0) return { ...me, name: `uid ${me.uid}` };
  const lines = (passwd ?? (await readFile('/etc/passwd', 'utf8'))).split('\n').map(line => line.split(':'));
  for (const name of CANDIDATES) {
    const [, , uid, gid] = lines.find(fields => fields[0] === name) ?? [];
    if (uid !== undefined && gid !== undefined && Number(uid) !== 0)
      return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new OffshootError('postgres/no-user', { tried: CANDIDATES.join(', ') });
}

/** Options for starting a program as `user`: only root can, and needs to, change. */
export const runAs = (user: ServerUser): Partial<UserIds> =>
  process.getuid?.() === 0 ? { uid: user.uid, gid: user.gid } : {};
