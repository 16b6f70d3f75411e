/** Containers as processes of this machine. */
import { readFileSync, rmSync } from 'node:fs';
import { bootId } from '../../lib/boot.ts';
import { ExecError } from '../../lib/exec.ts';
import { beside, startedBy } from '../../lib/namespaces.ts';
import { identify } from '../../lib/process.ts';
import { labels } from '../labels.ts';
import type { ContainerPlan } from './container-plan.ts';
import type { House } from './house.ts';
import { environmentOf, launch, type Place } from './launch.ts';
import type { Runner } from './runner.ts';

/** @param toItsEnd whether it is to end by itself, which is to be known also when no daemon is there */
export function processRunner(place: Place, house: House, toItsEnd: () => boolean): Runner {
  const { processes } = house;
  const { part } = place;

  return {
    find: () => processes.find(part),

    async unseenEnd() {
      const code = processes.find(part) === undefined ? readExit(place.exitFile) : undefined;
      return code === undefined ? undefined : { code, outOfMemory: false };
    },

    async start(plan, signal) {
      rmSync(place.exitFile, { force: true });
      return await launch(plan, place, house, signal, toItsEnd());
    },

    exitOf(exit) {
      const code =
        exit.code === undefined && exit.signal === undefined ? readExit(place.exitFile) : undefined;
      return code === undefined ? exit : { ...exit, code };
    },

    async run(plan, argv, deadlineMs, signal) {
      const inside = await place.enter();
      const seen = await besideIt(plan, argv, inside?.apart === true);
      const program = { ...seen, env: environmentOf(plan, part, house), ...(inside && { inside }) };
      return await processes.runIn(part, program, { deadlineMs, signal }).catch(asTold(argv));
    },

    async inside(plan) {
      const leader = processes.find(part)?.leader;
      if (leader === undefined) return { why: 'it does not run at the moment' };
      const how = house.mounts;
      const entrance = await place.enter();
      const apart = entrance?.apart === true;
      const pid = how !== undefined && (apart || toItsEnd()) ? await startedBy(leader, how) : leader.pid;
      const program = identify(pid);
      if (program === undefined) return { why: 'it has just ended' };
      const env = { ...environmentOf(plan, part, house) };
      // By these we know what is ours, and what enters is not.
      for (const label of Object.keys(labels(house.instance, part))) delete env[label];
      return {
        ...{ ...program, boot: bootId(), mounts: how !== undefined, cwd: plan.cwd, env },
        ...(apart && { through: leader.pid }),
      };
    },

    async end(graceMs) {
      await processes.end(part, [['SIGTERM', graceMs]]);
    },
  };

  /** Where it sees what the container sees. @param apart the process on record is a shell that waits for the program */
  async function besideIt(plan: ContainerPlan, argv: readonly string[], apart: boolean) {
    const leader = processes.find(part)?.leader;
    const how = house.mounts;
    if (how === undefined || leader === undefined) return { argv, cwd: plan.cwd };
    const program = apart || toItsEnd() ? await startedBy(leader, how) : leader.pid;
    return { argv: beside(how, program, plan.cwd, argv), cwd: '/' };
  }
}

// --- internal -----------------------------------------------------------------------------------

/** An error of a command names it as the manifest does. */
const asTold =
  (argv: readonly string[]) =>
  (error: unknown): never => {
    throw error instanceof ExecError ? new ExecError({ ...error, argv, cause: error }) : error;
  };

function readExit(file: string): number | undefined {
  try {
    const [, code] = /^(\d+)\n$/.exec(readFileSync(file, 'utf8')) ?? [];
    return code === undefined ? undefined : Number(code);
  } catch {
    return undefined;
  }
}
