import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import type { DiskView } from '../model/view.ts';
import { checkDiskUnused, usersOfDisk } from '../rules/disks.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import type { Routes } from './routes.ts';

const query = z.strictObject({ sizes: z.enum(['true', 'false']).default('false') });

type Params = { namespace: string; claim: string };

/** Of the baseline; those of forks go with their sandboxes. */
export function diskRoutes(routes: Routes, { store, programs }: ApiContext): void {
  routes.get('/disks', async request => {
    const { sizes } = checked(query, request.query);
    const list = await programs.disks.list();
    return await Promise.all(
      list.map(async (disk): Promise<DiskView> => {
        const bytes = sizes === 'true' ? await programs.disks.bytes(disk) : undefined;
        const users = usersOfDisk(store, disk.namespace, disk.claim);
        return { ...disk, ...(bytes !== undefined && { bytes }), users };
      }),
    );
  });

  routes.delete<Params>('/disks/:namespace/:claim', async ({ params: { namespace, claim } }) => {
    const there = (await programs.disks.list()).some(
      disk => disk.namespace === namespace && disk.claim === claim,
    );
    if (!there) {
      const hint = 'see "offshoot disk list"';
      throw new OffshootError('api/not-found', { kind: 'disk', name: `${namespace}/${claim}`, hint });
    }
    checkDiskUnused(store, namespace, claim);
    await programs.disks.remove(namespace, claim);
    return { namespace, claim };
  });
}
