import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import { checkPort, portBranch } from '../rules/branch-port.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import type { Routes } from './routes.ts';
import { branchView } from './views.ts';

type Params = { project: string; branch: string };

/** null: none. */
const portBody = z.strictObject({ port: z.number().nullable() });

/** @param find the branch that a path means */
export function branchPortRoutes(
  routes: Routes,
  path: string,
  find: (params: Params) => Stored<'branch'>,
  { store, ports }: ApiContext,
): void {
  /** Answers when it is listened there. */
  routes.put<Params>(`${path}/:branch/port`, async ({ params, body }) => {
    const branch = find(params);
    const { port } = checked(portBody, body);
    if (ports === undefined) throw new OffshootError('branch/port-not-here');
    if (port !== null) checkPort(store, branch.name, port);
    if (port !== null && port !== branch.spec.port && !(await ports.isFree(port)))
      throw new OffshootError('branch/port-taken', { port, by: 'another program listens there' });
    await portBranch(store, branch, port ?? undefined);
    if (port !== null) await ports.opened(branch.name);
    return branchView(store, store.get('branch', branch.name) ?? branch);
  });
}
