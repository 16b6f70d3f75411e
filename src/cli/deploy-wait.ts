/** Waiting until what was deployed answers as it is asked for. */
import { OffshootError } from '../model/errors.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { isHopeless } from '../model/tries.ts';
import type { ManifestView, SandboxView } from '../model/view.ts';
import { isWorkloadKind, sameWorkload } from '../model/workload.ts';
import type { Cli } from './context.ts';
import { say } from './output.ts';
import { createProgress, type ProgressStep } from './progress.ts';
import { waitFor } from './wait.ts';

/** Reasons that waiting does not mend; the same words as the workload runtime uses. */
const finalReasons = new Set([
  'CommandNotFound',
  'ConfigError',
  'PortTaken',
  'Failed',
  'SetupFailed',
  'BuildFailed',
]);
/** The same, but told of all at the end, and no reason not to wait for the others. */
const imageUnknown = 'ImageUnknown';

/** Of an init container that fails, as of any other. */
const ownReason = ({ reason }: ManifestView): string => reason.replace(/^Init:/, '');

export const storeName = (m: ManifestView): string =>
  `${m.kind}/${m.kind === 'Namespace' ? m.name : m.namespace}/${m.name}`;

/** How long the others are still waited for when one has failed, in ms: what else is wrong is told with it. */
const afterFailure = 2_000;

/**
 * @param applied what must be ready
 * @param pruned what must be gone
 * @returns what all are then, by store name
 * @throws OffshootError manifest/failed, api/timeout
 */
export async function waitReady(
  cli: Cli,
  applied: readonly ManifestView[],
  pruned: readonly ManifestView[],
  timeoutMs: number,
): Promise<ReadonlyMap<string, ManifestView>> {
  const names = applied.map(m => ({ name: storeName(m), generation: m.generation }));
  const missing = (objects: ReadonlyMap<string, ManifestView>) =>
    names.map(({ name }) => objects.get(name)).find(object => object?.ready === false);
  let last: ReadonlyMap<string, ManifestView> = new Map();
  const seen = () =>
    names.map(({ name, generation }) => ({ label: name, ...seenOf(last.get(name), generation) }));
  const failed = () =>
    seen().flatMap(({ state, object }) =>
      state === 'failed' && object!.reason !== imageUnknown ? [object!] : [],
    );
  const giveUp = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const progress = createProgress(cli);
  try {
    await waitFor<ManifestView>(cli, {
      kind: 'manifest',
      timeoutMs,
      signal: giveUp.signal,
      what: 'the baseline to be ready',
      hint: '"offshoot status" shows what is not ready, and the last lines of its log',
      probe: objects => {
        last = objects;
        const all = seen();
        progress.show(
          all.filter(({ object }) => object?.kind === 'Service' || isWorkloadKind(object?.kind ?? '')),
        );
        if (failed().length === 0) {
          clearTimeout(timer);
          timer = undefined;
        } else if (all.every(({ state }) => state !== 'running')) throw failure(failed());
        else timer ??= setTimeout(() => giveUp.abort(failure(failed())), afterFailure);
        if (pruned.some(m => objects.has(storeName(m)))) return undefined;
        return all.every(({ state }) => state !== 'running') ? true : undefined;
      },
      last: objects => {
        const object = missing(objects);
        const job = object?.kind === 'Job' ? ' (until its end; --no-wait does not wait for it)' : '';
        return object && `${storeName(object)}: ${object.message}${job}`;
      },
      output: objects => missing(objects)?.log?.join('\n'),
    });
  } finally {
    clearTimeout(timer);
    progress.end();
  }
  return last;
}

type Seen = Pick<ProgressStep, 'state' | 'detail'> & { readonly object: ManifestView | undefined };

function seenOf(object: ManifestView | undefined, generation: number): Seen {
  if (object === undefined) return { object, state: 'running', detail: 'not looked at yet' };
  const { ready, reason, message, observedGeneration } = object;
  if (observedGeneration < generation) return { object, state: 'running', detail: message };
  if (ready) return { object, state: 'done' };
  if (reason === imageUnknown) return { object, state: 'failed', detail: 'an image has no entry, see below' };
  if (finalReasons.has(ownReason(object)) || isHopeless(object))
    return { object, state: 'failed', detail: withoutPause(message) };
  return { object, state: 'running', detail: message };
}

/** It is tried again, but nobody waits for that. */
const withoutPause = (message: string): string => message.replace(/; starts again after [\d.]+ s$/, '');

/** One error for all that have failed: the first, and how many others there are. */
function failure([failed, ...others]: readonly ManifestView[]): OffshootError {
  const { kind, name, namespace, message, log } = failed!;
  const params = {
    ...{ kind, name, namespace, why: withoutPause(message) },
    ...{ reason: ownReason(failed!), others: others.map(storeName).join(', ') },
  };
  return new OffshootError('manifest/failed', params, { ...(log && { output: log.join('\n') }) });
}

type OldFork = { readonly sandbox: string; readonly forkOf: WorkloadKey; readonly inputs?: string };

/**
 * Waits until forks answer with what was deployed. One that does not become ready is its sandbox's matter: that is told,
 * and no reason for the deploy to fail.
 * @returns those that are not ready
 */
export async function waitForForks<F extends OldFork>(
  cli: Cli,
  forks: readonly F[],
  timeoutMs: number,
): Promise<readonly F[]> {
  let last: ReadonlyMap<string, SandboxView> = new Map();
  const now = ({ sandbox, forkOf }: OldFork) =>
    last.get(sandbox)?.status.forks.find(fork => sameWorkload(fork.forkOf, forkOf));
  const progress = createProgress(cli);
  try {
    await waitFor<SandboxView>(cli, {
      kind: 'sandbox',
      timeoutMs,
      what: 'the sandboxes to follow',
      hint: 'the baseline is ready; look with "offshoot sandbox list"',
      probe: sandboxes => {
        last = sandboxes;
        const seen = forks.map(fork => {
          const view = now(fork);
          const isOld = view?.inputs === fork.inputs;
          const failed = last.get(fork.sandbox)?.status.failed === true;
          return { ...{ fork, view }, ended: view === undefined || (!isOld && (view.ready || failed)) };
        });
        progress.show(
          seen.map(({ fork, view, ended }) => ({
            label: `fork of ${fork.forkOf.namespace}/${fork.forkOf.name} in sandbox ${fork.sandbox}`,
            state: !ended ? 'running' : view?.ready === false ? 'failed' : 'done',
            ...(view && { detail: view.message }),
          })),
        );
        return seen.every(({ ended }) => ended) ? true : undefined;
      },
      last: () => forks.map(now).find(view => view?.ready === false)?.message,
    });
  } finally {
    progress.end();
  }
  const failed = forks.filter(fork => now(fork)?.ready === false);
  for (const fork of failed)
    say(
      cli,
      `warning: the fork of ${fork.forkOf.namespace}/${fork.forkOf.name} in sandbox ${fork.sandbox} is not ready: ${now(fork)?.message}`,
    );
  return failed;
}
