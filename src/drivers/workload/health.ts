/** Watches one running process by its probes. */
import { once } from 'node:events';
import { delay } from '../../lib/wait.ts';
import type { ProbePlan } from './probe.ts';

export type Probes = {
  readonly startup?: ProbePlan;
  /** Absent: ready when it has run for a moment. */
  readonly readiness?: ProbePlan;
  readonly liveness?: ProbePlan;
};

export type Health = { readonly ready: boolean; readonly reason: string; readonly message: string };

type Watch = {
  /** @returns undefined when well, otherwise what is wrong */
  readonly check: (probe: ProbePlan) => Promise<string | undefined>;
  readonly report: (health: Health) => void;
  /** Its startup probe, if it has one, has succeeded. */
  readonly started: () => void;
  readonly signal: AbortSignal;
};

/**
 * Reports readiness for as long as the process lives.
 * @returns why the process must be started anew, and the grace that the probe gives it, in milliseconds; otherwise
 *   never, it rejects when the signal aborts
 */
export async function watchHealth(
  probes: Probes,
  watch: Watch,
): Promise<{ why: string; grace?: number | undefined }> {
  if (probes.startup !== undefined) {
    const wrong = await firstSuccess(probes.startup, watch);
    if (wrong !== undefined) return { why: `startup probe failed: ${wrong}`, grace: probes.startup.graceMs };
  }
  watch.started();
  return await Promise.race([
    watchReadiness(probes.readiness, watch),
    ...(probes.liveness === undefined ? [] : [watchLiveness(probes.liveness, watch)]),
  ]);
}

// --- internal -----------------------------------------------------------------------------------

// Readiness is on the path of whoever waits for the sandbox. A command costs more than a question.
const FIRST_CHECKS_EVERY_MS = 10;
const FIRST_COMMANDS_EVERY_MS = 25;
const READY_WITHOUT_PORTS_AFTER_MS = 50;
const SLOW_AFTER_MS = 2_000;

async function watchReadiness(probe: ProbePlan | undefined, watch: Watch): Promise<never> {
  const { check, report, signal } = watch;
  if (probe === undefined) {
    await delay(READY_WITHOUT_PORTS_AFTER_MS, signal);
    report(running);
    await once(signal, 'abort');
    throw signal.reason;
  }
  let wrong = await firstSuccess(probe, watch, wrong => report(waiting(probe, wrong)));
  // In a cluster a port that is declared is information: who never listens there is ready all the same.
  if (probe.assumed && wrong !== undefined) {
    report({ ...running, message: `ready, but ${silent(probe)}` });
    for (; wrong !== undefined; wrong = await check(probe)) await delay(probe.periodMs, signal);
  }
  // One success is enough for most; where more are asked for, the others are waited for below.
  let ready = wrong === undefined && probe.successThreshold === 1;
  let against = ready || wrong !== undefined ? 0 : 1; // checks in a row that contradict what we last reported
  if (against === 0) report(ready ? running : failing(wrong));
  for (;;) {
    await delay(probe.periodMs, signal);
    const before = wrong;
    wrong = await check(probe);
    against = (wrong === undefined) === ready ? 0 : against + 1;
    if (against < (ready ? probe.failureThreshold : probe.successThreshold)) {
      if (!ready && wrong !== undefined && wrong !== before) report(failing(wrong)); // it fails otherwise now
      continue;
    }
    ready = !ready;
    against = 0;
    report(ready ? running : failing(wrong));
  }
}

async function watchLiveness(
  probe: ProbePlan,
  { check, signal }: Watch,
): Promise<{ why: string; grace: number | undefined }> {
  let failures = 0;
  await delay(Math.max(probe.initialDelayMs, probe.periodMs), signal);
  for (;;) {
    const wrong = await check(probe);
    failures = wrong === undefined ? 0 : failures + 1;
    if (failures >= probe.failureThreshold)
      return { why: `liveness probe failed: ${wrong}`, grace: probe.graceMs };
    await delay(probe.periodMs, signal);
  }
}

/**
 * Checks often until the first success. The initial delay is part of the patience rather than a pause: it
 * spares slow starters a failure, and a check that succeeds early is as true as a late one.
 * @param slow is told what is wrong when somebody who waits would want to know
 * @returns what is wrong when the patience ends
 */
async function firstSuccess(
  probe: ProbePlan,
  { check, signal }: Watch,
  slow?: (wrong: string) => void,
): Promise<string | undefined> {
  const begun = performance.now();
  const end = begun + probe.initialDelayMs + probe.periodMs * probe.failureThreshold;
  for (let told = false; ; ) {
    const wrong = await check(probe);
    signal.throwIfAborted();
    if (wrong === undefined || performance.now() >= end) return wrong;
    if (!told && performance.now() - begun >= SLOW_AFTER_MS) {
      told = true;
      slow?.(wrong);
    }
    await delay(probe.check.kind === 'exec' ? FIRST_COMMANDS_EVERY_MS : FIRST_CHECKS_EVERY_MS, signal);
  }
}

const running: Health = { ready: true, reason: 'Running', message: 'ready' };

const silent = ({ check }: ProbePlan): string =>
  `nothing listens at port ${check.kind === 'exec' ? '' : check.port}`;

const waiting = (probe: ProbePlan, wrong: string): Health => ({
  ready: false,
  reason: 'Starting',
  message: probe.assumed ? `${silent(probe)} yet` : `readiness probe has not succeeded yet: ${wrong}`,
});

const failing = (wrong: string | undefined): Health => ({
  ready: false,
  reason: 'ProbeFailing',
  message: `readiness probe failed: ${wrong}`,
});
