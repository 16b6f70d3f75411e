/** One run of a step's script in a container of its plugin's image: as in a cluster, but its folders are here. */
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { tail } from '../../lib/log-file.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx, StepCause, StepDone, StepSpec } from '../contract.ts';
import { type ContainerWish, type Engine, EngineProblem } from '../engine/contract.ts';
import { interpreterOf } from '../interpreter.ts';
import type { Exit } from '../processes/contract.ts';
import { LINES_READ, scriptFailure, scriptSaid, stepName, systemFolders } from '../step-end.ts';
import { readOutputs } from './outputs.ts';
import { MAX_LOG_BYTES, variablesOf } from './run-step.ts';

export type EngineStepPlace = {
  readonly engine: Engine;
  /** Name of the step among the containers. */
  readonly part: string;
  /** Of this step alone; gone at the end. */
  readonly root: string;
  readonly rotation: LogRotation;
  readonly tell: ((cause: StepCause) => void) | undefined;
};

/** @throws OffshootError step/* */
export async function runStepInEngine(
  id: string,
  spec: StepSpec,
  image: string,
  { engine, part, root, rotation, tell }: EngineStepPlace,
  ctx: Ctx,
): Promise<StepDone> {
  const step = stepName(id);
  try {
    const folders = await openFolders(step, spec, root);
    const [program, ...argument] = interpreterOf(spec.script);
    const wish: ContainerWish = {
      ...{ image, pull: 'IfNotPresent', command: [program, ...argument, SCRIPT], workingDir: WORK },
      env: { ...spec.env, ...variablesOf(spec) },
      mounts: folders.mounts,
      logFile: join(root, 'output.log'),
    };
    rotation.add(wish.logFile, MAX_LOG_BYTES);
    const exit = await runToEnd(step, wish, { engine, part, tell }, ctx.signal);
    const { code, outOfMemory } = exit;
    if (code === 0 && !exit.stopped) {
      const outputs = await readOutputs(step, spec.outputs, folders.locate);
      return { outputs, ...scriptSaid(await tail(wish.logFile, LINES_READ), spec, outputs) };
    }
    const made = await Promise.all(
      spec.outputs.map(output => readOutputs(step, [output], folders.locate).catch(() => ({}))),
    );
    const how = outOfMemory ? 'want of memory' : `exit code ${code ?? 'unknown'}`;
    const lines = await tail(wish.logFile, LINES_READ);
    throw scriptFailure(step, { code, how, stopped: exit.stopped }, lines, spec, Object.assign({}, ...made));
  } finally {
    await engine.kill(part);
    rotation.remove(root);
    await rm(root, { recursive: true, force: true });
  }
}

// --- internal -----------------------------------------------------------------------------------

const WORK = '/offshoot/work';
const SCRIPT = '/offshoot/script';
const GRACE_MS = 1_000;

type Mount = ContainerWish['mounts'][number];

/** Relative paths are in the working folder; the folder of an output is one of ours, in place of what the image has there. */
async function openFolders(step: string, spec: StepSpec, root: string) {
  await mkdir(root, { recursive: true, mode: 0o700 });
  const places = new Map<string, string>();
  const folder = async (path: string) => {
    const known = places.get(path);
    if (known !== undefined) return known;
    const made = join(root, `folder-${places.size}`);
    await mkdir(made);
    await chmod(made, 0o1777); // whoever the image's user is
    places.set(path, made);
    return made;
  };
  for (const path of [WORK, '/tmp']) await folder(path);
  for (const { name, valueFromPath = '' } of spec.outputs) {
    const parent = posix.dirname(posix.resolve(WORK, valueFromPath));
    if (systemFolders.includes(parent) || /^\/(proc|sys|dev)(\/|$)/.test(parent))
      throw new OffshootError('step/path-outside', {
        ...{ step, what: `output "${name}"`, path: valueFromPath },
        why: `${parent} is a folder of the image`,
      });
    const within = [WORK, '/tmp'].find(place => parent.startsWith(`${place}/`));
    if (within === undefined) await folder(parent);
    else await openBelow(places.get(within)!, parent.slice(within.length + 1));
  }
  const locate = (path: string): string => {
    const absolute = posix.resolve(WORK, path);
    const [inside = '', place = ''] =
      [...places]
        .filter(([at]) => absolute.startsWith(`${at}/`))
        .sort(([a], [b]) => b.length - a.length)[0] ?? [];
    return join(place, absolute.slice(inside.length));
  };
  const file = async (name: string, text: string, mode: number) => {
    const path = join(root, name);
    await writeFile(path, text);
    await chmod(path, mode);
    return path;
  };
  const mounts: Mount[] = [...places].map(([target, source]) => ({ source, target, readOnly: false }));
  mounts.push({ source: await file('script', spec.script, 0o555), target: SCRIPT, readOnly: true });
  for (const [i, { as, value }] of spec.inputs.entries()) {
    if (as?.path === undefined) continue;
    const target = posix.resolve(WORK, as.path);
    mounts.push({
      source: await file(`input-${i}`, value, 0o444),
      target,
      readOnly: true,
    });
  }
  // Outer ones first, because inner ones are mounted in them.
  return { locate, mounts: mounts.toSorted((a, b) => a.target.length - b.target.length) };
}

/** Folders in one of ours, in which whoever the image's user is may write. */
async function openBelow(folder: string, path: string): Promise<void> {
  let at = folder;
  for (const name of path.split('/')) {
    at = join(at, name);
    await mkdir(at, { recursive: true });
    await chmod(at, 0o1777);
  }
}

async function runToEnd(
  step: string,
  wish: ContainerWish,
  { engine, part, tell }: Pick<EngineStepPlace, 'engine' | 'part' | 'tell'>,
  signal: AbortSignal,
): Promise<Exit & { readonly stopped: boolean }> {
  let stopped = false;
  const stop = () => {
    stopped = true;
    void engine.end(part, [['SIGTERM', GRACE_MS]]).catch(() => {}); // list() finds it
  };
  try {
    const { ended } = await engine.start(part, wish, signal, tell);
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    return { ...(await ended), stopped };
  } catch (error) {
    if (signal.aborted) return { outOfMemory: false, stopped: true };
    if (!(error instanceof EngineProblem)) throw error;
    const { reason, message: why } = error;
    if (reason === 'CommandNotFound')
      throw new OffshootError('step/command-not-found', { step, command: wish.command![0] });
    throw new OffshootError('step/not-started', { step, reason, why });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
