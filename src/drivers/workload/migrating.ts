/** Migrations: a command in a folder that people edit, for one database. */
import { tail } from '../../lib/log-file.ts';
import type { MigrationDriver, MigrationSpec } from '../contract.ts';
import { type CodePlan, codeOf } from './code.ts';
import { logLines } from './logs.ts';
import type { Preparing } from './preparing.ts';
import { StartProblem } from './start-problem.ts';

export function migrating(preparing: Preparing): MigrationDriver {
  return {
    async ensure(id, spec, since, tell, { signal }) {
      const plans = plansOf(id, spec);
      try {
        for (const plan of plans) await preparing.prepare(plan, since, tell, signal);
        return undefined;
      } catch (error) {
        if (!(error instanceof StartProblem)) throw error;
        const last = plans.flatMap(plan => preparing.logs(plan)).findLast(({ start }) => start !== undefined);
        const log = last === undefined ? [] : await tail(last.file, LINES, { from: last.start ?? 0 });
        return { ...error.problem, log };
      }
    },

    async due(id, spec) {
      for (const plan of plansOf(id, spec)) if (!(await preparing.isDone(plan))) return true;
      return false;
    },

    logs: (id, spec, query, { signal }) =>
      logLines(
        () =>
          plansOf(id, spec)
            .flatMap(plan => preparing.logs(plan))
            .map(({ step, ...log }) => ({ ...log, container: step })),
        () => () => {},
        query,
        signal,
      ),

    list: preparing.databases,

    remove: preparing.forget,
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Of a failure, for status. */
const LINES = 20;

/** What images of the folder need comes first: the same for all who need it, so it is done once. */
function plansOf(id: string, { migration, images, era, variables }: MigrationSpec): readonly CodePlan[] {
  const { dir, command, setup, env = {}, runtime, inputs, timeoutMs } = migration;
  const before = Object.values(images)
    .filter(image => image.dir === dir)
    .map(codeOf)
    .filter(({ steps }) => steps.length > 0);
  const migrate = {
    ...({ name: 'migrate', command } as const),
    ...(inputs !== undefined && { inputs }),
    ...(timeoutMs !== undefined && { timeoutMs }),
  };
  return [
    ...before,
    {
      folder: dir,
      steps: [...(setup === undefined ? [] : [{ name: 'setup', ...setup } as const]), migrate],
      env,
      ...(runtime && { runtime }),
      database: { id, era, variables },
    },
  ];
}
