/** `POST /restarts`: another start of programs as they are asked for, pod by pod without a gap where their strategy has none. */
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import { manifestName } from '../model/manifest-name.ts';
import { parseProgramSelector } from '../model/program-selector.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { sameWorkload } from '../model/workload.ts';
import { restartBranch } from '../rules/branches.ts';
import { restartForks, restartWorkload } from '../rules/restart.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { type Program, programs } from './programs.ts';
import { answer, type Routes } from './routes.ts';
import { branchView, manifestView } from './views.ts';

const name = z.string().max(300);

const body = z.strictObject({
  of: z.array(name).min(1).max(100),
  namespace: name.optional(),
  project: name.optional(),
});

export function restartRoutes(routes: Routes, { store, baseline }: ApiContext): void {
  routes.post('/restarts', async request => {
    const { of, ...where } = checked(body, request.body);
    const all = programs({ store, baseline }, of.map(parseProgramSelector), where);
    for (const program of all) checkRestartable(program);
    const manifests = new Set<string>();
    const forks = new Map<string, WorkloadKey[]>();
    const branches = new Set<string>();
    for (const program of all) {
      if (program.of === 'baseline') {
        const { kind, namespace, name } = program.workload;
        manifests.add(manifestName(kind, namespace, name));
      } else if (program.of === 'fork')
        forks.set(program.sandbox, [...(forks.get(program.sandbox) ?? []), program.workload]);
      else if (program.of === 'branch') branches.add(program.branch.name);
    }
    const [workloads, sandboxes, servers] = await Promise.all([
      Promise.all([...manifests].map(name => restartWorkload(store, name))),
      Promise.all(
        [...forks].map(async ([sandbox, keys]) => {
          const before = store.get('sandbox', sandbox)?.status?.forks ?? [];
          if ((await restartForks(store, sandbox, keys)) === undefined) return [];
          return keys.map(forkOf => {
            const inputs = before.find(fork => sameWorkload(fork.forkOf, forkOf))?.inputs;
            return { sandbox, forkOf, ...(inputs !== undefined && { inputs }) };
          });
        }),
      ),
      Promise.all([...branches].map(id => restartBranch(store, id))),
    ]);
    return answer(202, {
      workloads: workloads
        .filter(object => object !== undefined)
        .map(o => manifestView({ store, baseline }, o)),
      /** With what each was made from until now. */
      forks: sandboxes.flat(),
      branches: servers.map(branch => branchView(store, branch)),
    });
  });
}

// --- internal -----------------------------------------------------------------------------------

function checkRestartable(program: Program): void {
  if (program.of !== 'resource') return;
  const why = 'a resource has nothing that could be started anew: apply the sandbox again';
  throw new OffshootError('api/bad-request', { why });
}
