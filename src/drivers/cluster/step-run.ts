/** One step whose Job is there: waits for the end of its script, and says what came of it. */
import type { ClusterClient } from '../../kubernetes/client.ts';
import { OffshootError } from '../../model/errors.ts';
import { scriptContainer } from '../../model/pod-overlay.ts';
import type { CollectedOutputs } from '../../model/step-outputs.ts';
import type { Ctx, StepCause, StepDone, StepSpec } from '../contract.ts';
import { LINES_READ, type ScriptExit, scriptFailure, scriptSaid } from '../step-end.ts';
import { lastLines } from './pod-logs.ts';
import { collectedOutputs } from './step-outputs.ts';
import { type StepPod, type StepState, stepState } from './step-state.ts';
import type { StepWatch } from './step-watch.ts';

export type StepJobRun = {
  readonly step: string;
  readonly spec: StepSpec;
  readonly namespace: string;
  /** Of the Job. */
  readonly name: string;
  readonly uid: string;
  /** Of the seal. */
  readonly key: string;
};

/**
 * @param tell see StepDriver.run
 * @throws OffshootError step/*; the signal's reason once it aborts
 */
export async function followStep(
  client: ClusterClient,
  watch: StepWatch,
  run: StepJobRun,
  ctx: Ctx,
  tell: (cause: StepCause) => void,
): Promise<StepDone> {
  const { step, name } = run;
  let told = '';
  const look = (): Ended | undefined => {
    const now = stateOf(watch, run);
    if (now.state === 'running') return undefined;
    if (now.state !== 'waiting' || now.hopeless) return now;
    if (now.cause !== undefined && now.cause.message !== told) tell(now.cause);
    told = now.cause?.message ?? told;
    return undefined;
  };
  const end = await watch.until(name, look, ctx.signal);
  if (end.state === 'waiting') throw notStarted(run, end.cause!);
  if (end.state === 'lost') throw new OffshootError('step/interrupted', { step, why: end.why });
  if (end.state === 'late') throw new OffshootError('step/timeout', { step });
  const { code, how } = end;
  if (code !== 0) {
    const exit = { code, how, stopped: false };
    throw await failureOf(client, watch, run, exit, ctx);
  }
  const { outputs, failure } = await outputsOf(client, watch, run, ctx.signal);
  if (failure === undefined)
    return { outputs, ...scriptSaid(await saidBy(client, watch, run, ctx), run.spec, outputs) };
  // Of readOutputs, which has run there.
  throw new OffshootError(failure.code as 'step/output-missing', failure.params);
}

/** What a step that was stopped is called: one that has not begun says what it waited for. */
export async function stoppedStep(
  client: ClusterClient,
  watch: StepWatch,
  run: StepJobRun,
  ctx: Ctx,
): Promise<OffshootError> {
  const now = stateOf(watch, run);
  if (now.state === 'waiting' && now.cause !== undefined) return notStarted(run, now.cause);
  return failureOf(client, watch, run, { code: undefined, how: '', stopped: true }, ctx);
}

// --- internal -----------------------------------------------------------------------------------

type Ended = Exclude<StepState, { readonly state: 'running' }>;

/** Milliseconds for the last lines of output, and for the outputs of what has failed: they are for the eye only. */
const LAST_WORDS_MS = 5_000;

const podOf = (watch: StepWatch, { name, uid }: StepJobRun): StepPod | undefined =>
  watch.podsOf(name).find(({ owner }) => owner === uid);

const stateOf = (watch: StepWatch, run: StepJobRun): StepState =>
  stepState({
    job: watch.jobs.get(`${run.namespace}/${run.name}`),
    pod: podOf(watch, run),
    refusal: watch.refusalOf(run.uid),
  });

/** The runtime's words for a program that the image does not have are those of runc. */
function notStarted({ step, spec: { script } }: StepJobRun, { reason, message }: StepCause): OffshootError {
  if (!/executable file not found|no such file or directory/.test(message))
    return new OffshootError('step/not-started', { step, reason, why: message });
  const command = /^#![ \t]*(\S+)/.exec(script)?.[1] ?? '/bin/sh';
  return new OffshootError('step/command-not-found', { step, command });
}

/** The signal of whoever asks may be what has stopped it. */
async function failureOf(
  client: ClusterClient,
  watch: StepWatch,
  run: StepJobRun,
  exit: ScriptExit,
  { log }: Ctx,
): Promise<OffshootError> {
  const signal = AbortSignal.timeout(LAST_WORDS_MS);
  const { step, spec } = run;
  if (podOf(watch, run) === undefined) return scriptFailure(step, exit, [], spec, {});
  const made = exit.stopped ? undefined : await outputsOf(client, watch, run, signal).catch(() => undefined);
  const lines = await saidBy(client, watch, run, { signal, log });
  return scriptFailure(step, exit, lines, spec, made?.outputs ?? {});
}

/** The last lines of its output, as far as they can still be had. */
async function saidBy(
  client: ClusterClient,
  watch: StepWatch,
  run: StepJobRun,
  ctx: Ctx,
): Promise<readonly string[]> {
  const { namespace } = run;
  const pod = podOf(watch, run)?.name;
  if (pod === undefined) return [];
  const of = { namespace, pod, container: scriptContainer, previous: false };
  return lastLines(client, of, ctx, LINES_READ);
}

async function outputsOf(
  client: ClusterClient,
  watch: StepWatch,
  run: StepJobRun,
  signal: AbortSignal,
): Promise<CollectedOutputs> {
  const { step, spec, namespace, key } = run;
  if (spec.outputs.length === 0) return { outputs: {} };
  const pod = podOf(watch, run);
  if (pod === undefined) throw new OffshootError('step/interrupted', { step, why: 'its pod is gone' });
  const isOver = () => {
    const { phase } = podOf(watch, run)?.status ?? {};
    return phase === undefined || phase === 'Succeeded' || phase === 'Failed';
  };
  return collectedOutputs(client, step, { namespace, pod: pod.name }, key, isOver, signal);
}
