/** A port of its own for a branch: for clients that can be told neither a user name with a branch in it nor a host. */
import { LEAST_PORT, MOST_PORT } from '../model/branch.ts';
import { OffshootError } from '../model/errors.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { holding } from './locks.ts';

/**
 * @param port undefined: none any more; its sessions end
 * @throws OffshootError branch/bad-port, branch/port-taken, api/not-found
 */
export async function portBranch(
  store: Store,
  { name: id, spec: { name } }: Stored<'branch'>,
  port: number | undefined,
): Promise<void> {
  const alone = [`branch/${id}`, ...(port === undefined ? [] : [`branch-port/${port}`])];
  await holding(store, { alone }, async () => {
    const branch = store.get('branch', id);
    if (branch === undefined || branch.deletedAt !== undefined || isTrashed(branch))
      throw new OffshootError('api/not-found', { kind: 'branch', name });
    if (port !== undefined) checkPort(store, id, port);
    await store.modify('branch', id, ({ spec: { port: _, ...rest } }) => ({
      spec: { ...rest, ...(port !== undefined && { port }) },
    }));
  });
}

/** @throws OffshootError branch/bad-port, branch/port-taken by another branch than `id` */
export function checkPort(store: Store, id: string, port: number): void {
  if (!(Number.isInteger(port) && port >= LEAST_PORT && port <= MOST_PORT))
    throw new OffshootError('branch/bad-port', { port });
  // Also by one in the trash: it comes back to the address that it had.
  const other = store.list('branch').find(b => b.name !== id && b.spec.port === port);
  if (other === undefined) return;
  const { name, project } = other.spec;
  throw new OffshootError('branch/port-taken', { port, by: `branch ${name} of project ${project} has it` });
}
