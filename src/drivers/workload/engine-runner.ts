/** Containers of images, in a container engine. Whatever is asked for while that does not answer waits until it does. */
import { orAborted } from '../../lib/wait.ts';
import { type ContainerWish, type Engine, EngineProblem } from '../engine/contract.ts';
import type { ContainerPlan } from './container-plan.ts';
import type { House } from './house.ts';
import type { ImagePlan } from './image-plan.ts';
import type { Place } from './launch.ts';
import type { Runner } from './runner.ts';
import { StartProblem } from './start-problem.ts';
import { sourceOf } from './view.ts';

/** @param image of the container that this is for */
export function engineRunner(image: ImagePlan, place: Place, house: House, engine: Engine): Runner {
  const { part } = place;

  return {
    find: () => engine.find(part),
    unseenEnd: signal => engine.endOf(part, signal),

    async start(plan, signal, tell) {
      try {
        const wish = wishOf(plan, image, place, house);
        return await engine.start(part, wish, signal, news => tell({ ready: false, ...news }));
      } catch (error) {
        if (!(error instanceof EngineProblem)) throw error;
        throw new StartProblem(error.reason, `container "${plan.name}": ${error.message}`);
      }
    },

    exitOf: exit => exit,
    run: (_, argv, deadlineMs, signal) => orAborted(engine.exec(part, argv, deadlineMs, signal), signal),
    end: graceMs => engine.end(part, [['SIGTERM', graceMs]]),
  };
}

// --- internal -----------------------------------------------------------------------------------

function wishOf(plan: ContainerPlan, image: ImagePlan, place: Place, house: House): ContainerWish {
  const { name, ...wanted } = image;
  const { network } = place;
  if (network !== undefined && network.path === undefined)
    throw new EngineProblem(
      'StartFailed',
      'a container engine cannot enter the networks of an ordinary user',
    );
  const resolvConf = network && house.networks?.resolvConf();
  return {
    ...wanted,
    image: name,
    env: { ...plan.network, ...plan.env },
    mounts: [
      { source: place.hostsFile, target: '/etc/hosts', readOnly: true },
      ...(resolvConf === undefined
        ? []
        : [{ source: resolvConf, target: '/etc/resolv.conf', readOnly: true }]),
      // Outer ones first, because inner ones are mounted in them.
      ...plan.mounts
        .toSorted((a, b) => a.path.length - b.path.length)
        .map(mount => ({
          source: sourceOf(mount, place.volume(mount.volume)),
          ...{ target: mount.path, readOnly: mount.readOnly },
        })),
    ],
    ...(network?.path !== undefined && { network: network.path }),
    ...(place.hostname !== undefined && { hostname: place.hostname }),
    ...(place.hostPID && { hostPID: true }),
    ...(plan.limits && { limits: plan.limits }),
    logFile: place.logFile,
  };
}
