/** What is to happen right after a container has started, and before it is asked to end (Kubernetes, "Container Lifecycle Hooks"). */

import { delay } from '../../lib/wait.ts';
import type { Container, Probe } from '../../model/kubernetes.ts';
import { checkProbe, type ProbePlan, type ProbeTarget } from './probe.ts';
import { planCheck } from './probe-plan.ts';

export type Hook = ProbePlan['check'] | { readonly kind: 'sleep'; readonly ms: number };

export type Hooks = { readonly postStart?: Hook; readonly preStop?: Hook };

/** @returns a sentence when one cannot be done here */
export function planHooks(container: Container): Hooks | string {
  const hooks: { postStart?: Hook; preStop?: Hook } = {};
  const { lifecycle } = container as { readonly lifecycle?: Lifecycle };
  for (const name of ['postStart', 'preStop'] as const) {
    const handler = lifecycle?.[name];
    if (handler === undefined || handler === null) continue;
    const hook = handler.sleep
      ? ({ kind: 'sleep', ms: 1000 * Number(handler.sleep.seconds) || 0 } as const)
      : planCheck(container, handler);
    if (typeof hook === 'string') return `lifecycle.${name} ${hook}`;
    hooks[name] = hook;
  }
  return hooks;
}

/** @returns undefined when it was done, otherwise what went wrong */
export async function runHook(
  hook: Hook,
  target: ProbeTarget,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (hook.kind !== 'sleep') return await checkProbe({ check: hook, timeoutMs: deadlineMs }, target, signal);
  await delay(Math.min(hook.ms, deadlineMs), signal);
  return undefined;
}

// --- internal -----------------------------------------------------------------------------------

type Handler = Pick<Probe, 'httpGet' | 'tcpSocket' | 'exec'> & {
  readonly sleep?: { readonly seconds: number };
};
type Lifecycle = { readonly postStart?: Handler; readonly preStop?: Handler };
