/** `POST /restarts`: another start of programs as they are asked for, pod by pod without a gap where their strategy has none. */
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import { parseProgramSelector } from '../model/program-selector.ts';
import { restartBranch } from '../rules/branches.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { type Program, programs } from './programs.ts';
import { restartAll } from './restarting.ts';
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
    const named = all.filter(program => program.of === 'baseline' || program.of === 'fork');
    const branches = new Set(all.flatMap(program => (program.of === 'branch' ? [program.branch.name] : [])));
    const [{ workloads, forks }, servers] = await Promise.all([
      restartAll(store, named),
      Promise.all([...branches].map(id => restartBranch(store, id))),
    ]);
    return answer(202, {
      workloads: workloads.map(object => manifestView({ store, baseline }, object)),
      /** With what each was made from until now. */
      forks,
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
