/**
 * Runs plugin steps as scripts on this machine. Each has a folder of its own with its working directory,
 * and, where the machine allows, a /tmp of its own. Whatever it leaves behind is ended and removed.
 */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KeyedLock } from '../../lib/lock.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import type { FoundMounts, PrivateMounts } from '../../lib/namespaces.ts';
import { orAborted } from '../../lib/wait.ts';
import type { Capability, Ctx, StepDone, StepDriver, StepSpec } from '../contract.ts';
import type { Engine } from '../engine/contract.ts';
import { pathId, pathName } from '../labels.ts';
import type { Processes, Spaces } from '../processes/contract.ts';
import { runnerOf } from '../runner-of.ts';
import { stepName } from '../step-end.ts';
import { stepRuns } from '../step-runs.ts';
import { runStepInEngine } from './engine-step.ts';
import { checkPaths, pathProblem } from './paths.ts';
import { runStep } from './run-step.ts';
import { openStepFolder, removeStepFolder } from './step-folder.ts';

export type StepRunnerOptions = {
  /** The data directory; ours is `steps` in it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  readonly processes: Processes;
  /** Runs the steps of plugins whose image has no entry. */
  readonly engine: Engine;
  /** Absent where scripts see all processes of the machine. */
  readonly spaces: Spaces | undefined;
  /** How scripts get mounts of their own, or why they cannot. */
  readonly mounts: FoundMounts;
  /** All that scripts get of our environment, e.g. PATH, HOME, LANG, TZ. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** Absolute path of the node that `node` means. */
  readonly nodePath: string;
  /** Keeps logs small; not ours to stop. */
  readonly rotation: LogRotation;
};

export async function openStepRunner(options: StepRunnerOptions): Promise<StepDriver> {
  const { instance, processes, engine, spaces, baseEnv, nodePath, rotation } = options;
  const root = join(options.home, 'steps');
  const found = options.mounts;
  const mounts = 'why' in found ? undefined : found;

  const runs = stepRuns();

  /** Of a run that was interrupted. */
  const clear = async (id: string) => {
    await Promise.all([processes.kill(stepPart(id)), engine.kill(stepPart(id)), spaces?.end(stepPart(id))]);
    await removeStepFolder(join(root, pathName(id)));
  };

  /** The image that a container is to be made of; undefined: its script is a program of this machine. */
  const imageOf = ({ runner, images = {} }: StepSpec): string | undefined => {
    const image = runner?.image;
    if (image === undefined) return undefined;
    const by = runnerOf(images, image, engine.last() ?? { why: engine.away() ?? '' });
    return 'engine' in by ? image : undefined;
  };

  const runOnce = async (id: string, spec: StepSpec, ctx: Ctx): Promise<StepDone> => {
    await clear(id);
    await checkPaths(stepName(id), spec, found);
    const keep = [...spec.keep, dirname(nodePath)];
    await using folder = await openStepFolder(join(root, pathName(id)), spec, keep, mounts);
    const surroundings = { instance, processes, spaces, part: stepPart(id), baseEnv, nodePath, rotation };
    return await runStep(id, spec, folder, surroundings, ctx);
  };

  return {
    name: 'script',

    async capabilities() {
      return [capabilityOf(found)];
    },

    pathProblem: path => pathProblem(path, found),

    run: (id, spec, ctx, tell) =>
      runs.run(id, ctx.signal, async signal => {
        // Who is to stop meanwhile is told so by the run.
        if (spec.runner?.image !== undefined) await orAborted(engine.looked, signal).catch(() => {});
        const image = imageOf(spec);
        if (image !== undefined) {
          await clear(id);
          const place = { engine, part: stepPart(id), root: join(root, pathName(id)), rotation, tell };
          return await runStepInEngine(id, spec, image, place, { ...ctx, signal });
        }
        const once = () => runOnce(id, spec, { ...ctx, signal });
        return await (mounts === undefined ? sharedTmp.run('/tmp', once) : once());
      }),

    async remove(id) {
      await runs.end(id);
      await clear(id);
    },

    async list() {
      const running = [...processes.list(STEPS), ...engine.list(STEPS)].map(part => part.split('/')[1]!);
      const folders = await readdir(root).catch(() => []);
      return [...new Set([...folders, ...running].map(pathId).filter(id => id !== undefined))];
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** One step at a time where all see the same /tmp, since plugins write their outputs to fixed paths there. */
const sharedTmp = new KeyedLock();

const STEPS = 'step';
const stepPart = (id: string): string => `${STEPS}/${pathName(id)}`;

function capabilityOf(found: PrivateMounts | { readonly why: string }): Capability {
  const name = 'step/private-tmp';
  if ('why' in found)
    return { name, ok: false, detail: `scripts share /tmp and run one at a time: ${found.why}` };
  return { name, ok: true, detail: 'each script has a /tmp of its own' };
}
