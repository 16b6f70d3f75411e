/** One run of a step's script: inputs in, program, outputs out. */
import { closeSync, openSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { findProgram, pathWith } from '../../lib/find-program.ts';
import { HeldVariableError } from '../../lib/held.ts';
import { tail } from '../../lib/log-file.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx, StepDone, StepSpec } from '../contract.ts';
import { interpreterOf } from '../interpreter.ts';
import { labels } from '../labels.ts';
import type { Processes, Running, Spaces } from '../processes/contract.ts';
import { LINES_READ, type ScriptExit, scriptFailure, scriptSaid, stepName } from '../step-end.ts';
import { readOutputs } from './outputs.ts';
import type { StepFolder } from './step-folder.ts';

export type StepSurroundings = {
  readonly instance: string;
  readonly processes: Processes;
  /** Absent where the machine does not allow process namespaces. */
  readonly spaces: Spaces | undefined;
  /** Name of the step among the processes. */
  readonly part: string;
  readonly baseEnv: Readonly<Record<string, string>>;
  readonly nodePath: string;
  readonly rotation: LogRotation;
};

/** @throws OffshootError step/* */
export async function runStep(
  id: string,
  spec: StepSpec,
  folder: StepFolder,
  surroundings: StepSurroundings,
  ctx: Ctx,
): Promise<StepDone> {
  const step = stepName(id);
  await writeInputFiles(spec, folder);
  const env = environmentOf(spec, folder, surroundings);
  const [interpreter, ...argument] = interpreterOf(spec.script);
  const program = await findProgram(interpreter, env.PATH!, folder.work);
  if (program === undefined)
    throw new OffshootError('step/command-not-found', { step, command: interpreter });
  const argv = [program, ...argument, folder.script];
  const exit = await runToEnd(argv, folder, env, surroundings, ctx.signal);
  if (exit.code !== 0 || exit.stopped) throw await failureOf(step, exit, spec, folder);
  const outputs = await readOutputs(step, spec.outputs, folder.locate);
  return { outputs, ...scriptSaid(await tail(folder.output, LINES_READ), spec, outputs) };
}

/** What its inputs are as variables: all that are no files. */
export function variablesOf({ inputs }: StepSpec): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const { name, as, value } of inputs) {
    const variable =
      as?.env ?? (as?.path === undefined ? name.toUpperCase().replaceAll('-', '_') : undefined);
    if (variable !== undefined) variables[variable] = value;
  }
  return variables;
}

// --- internal -----------------------------------------------------------------------------------

/** Of a step. */
export const MAX_LOG_BYTES = 1024 * 1024;
const GRACE_MS = 1_000;

async function writeInputFiles(spec: StepSpec, folder: StepFolder): Promise<void> {
  for (const { as, value } of spec.inputs) {
    if (as?.path === undefined) continue;
    const file = folder.locate(as.path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, value, { mode: 0o600, flag: 'wx' }); // never through a link that waits in a shared /tmp
  }
}

function environmentOf(spec: StepSpec, folder: StepFolder, s: StepSurroundings): Record<string, string> {
  const env: Record<string, string> = { ...s.baseEnv, ...spec.env, ...variablesOf(spec) };
  return {
    ...env,
    PATH: pathWith(dirname(s.nodePath), env.PATH),
    TMPDIR: folder.tmpdir,
    ...labels(s.instance, s.part),
  };
}

async function runToEnd(
  argv: readonly string[],
  folder: StepFolder,
  env: Record<string, string>,
  { processes, spaces, part, rotation }: StepSurroundings,
  signal: AbortSignal,
): Promise<ScriptExit> {
  if (signal.aborted) return { code: undefined, how: '', stopped: true };
  let running: Running;
  const output = openSync(folder.output, 'a', 0o600); // one file for both streams keeps their order
  try {
    const { work: cwd, mounts } = folder;
    const inside = await spaces?.enter(part);
    const seen = mounts && { mounts: { ...mounts, processes: inside !== undefined } };
    const program = { argv, cwd, env, stdout: output, stderr: output, ...seen, ...(inside && { inside }) };
    running = await processes.start(part, program);
  } catch (error) {
    await spaces?.end(part);
    const how =
      error instanceof HeldVariableError
        ? error.message
        : `${(error as NodeJS.ErrnoException).code} before it began`;
    return { code: undefined, how, stopped: false };
  } finally {
    closeSync(output);
  }
  let stopped = false;
  const stop = () => {
    stopped = true;
    void processes.end(part, [['SIGTERM', GRACE_MS]]).catch(() => {}); // list() finds it
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  rotation.add(folder.output, MAX_LOG_BYTES);
  try {
    const { code, signal: name } = await running.ended;
    const how = name === undefined ? `exit code ${code}` : `signal ${name}`;
    return { code, how, stopped };
  } finally {
    rotation.remove(folder.output);
    signal.removeEventListener('abort', stop);
    await Promise.all([processes.kill(part), spaces?.end(part)]); // what it left running must not write outputs any more
  }
}

async function failureOf(
  step: string,
  exit: ScriptExit,
  spec: StepSpec,
  folder: StepFolder,
): Promise<OffshootError> {
  const lines = await tail(folder.output, LINES_READ);
  const made = await Promise.all(
    spec.outputs.map(output => readOutputs(step, [output], folder.locate).catch(() => ({}))),
  );
  return scriptFailure(step, exit, lines, spec, Object.assign({}, ...made));
}
