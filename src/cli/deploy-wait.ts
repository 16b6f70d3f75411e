/** Waiting until what was deployed answers as it is asked for. */
import { OffshootError } from '../model/errors.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { isHopeless } from '../model/tries.ts';
import type { ManifestView, SandboxView } from '../model/view.ts';
import { isWorkloadKind, sameWorkload } from '../model/workload.ts';
import type { Cli } from './context.ts';
import { say } from './output.ts';
import { createProgress } from './progress.ts';
import { waitFor } from './wait.ts';

/** Reasons that waiting does not mend; the same words as the workload runtime uses. */
const finalReasons = new Set(['CommandNotFound', 'ConfigError', 'PortTaken', 'Failed']);
/** The same, but told of all at the end, and no reason not to wait for the others. */
const imageUnknown = 'ImageUnknown';

/** Of an init container that fails, as of any other. */
const ownReason = ({ reason }: ManifestView): string => reason.replace(/^Init:/, '');

export const storeName = (m: ManifestView): string =>
  `${m.kind}/${m.kind === 'Namespace' ? m.name : m.namespace}/${m.name}`;

/**
 * @param applied what must be ready
 * @param pruned what must be gone
 * @returns what all are then, by store name
 */
export async function waitReady(
  cli: Cli,
  applied: readonly ManifestView[],
  pruned: readonly ManifestView[],
  timeoutMs: number,
): Promise<ReadonlyMap<string, ManifestView>> {
  const names = applied.map(m => ({ name: storeName(m), generation: m.generation }));
  const isThere = (object: ManifestView | undefined, generation: number) =>
    object !== undefined && object.observedGeneration >= generation;
  const missing = (objects: ReadonlyMap<string, ManifestView>) =>
    names.map(({ name }) => objects.get(name)).find(object => object?.ready === false);
  let last: ReadonlyMap<string, ManifestView> = new Map();
  const progress = createProgress(cli);
  try {
    await waitFor<ManifestView>(cli, {
      kind: 'manifest',
      timeoutMs,
      what: 'the baseline to be ready',
      hint: '"offshoot status" shows what is not ready, and the last lines of its log',
      probe: objects => {
        last = objects;
        const seen = names.map(({ name, generation }) => ({ name, generation, object: objects.get(name) }));
        progress.show(
          seen
            .filter(({ object }) => object?.kind === 'Service' || isWorkloadKind(object?.kind ?? ''))
            .map(({ name, object, generation }) => {
              const seen = isThere(object, generation);
              const ready = object!.ready && seen;
              const failed = seen && object!.reason === imageUnknown;
              const state = ready ? 'done' : failed ? 'failed' : 'running';
              return { label: name, state, detail: object!.message } as const;
            }),
        );
        const failed = seen.find(
          ({ object, generation }) =>
            object !== undefined &&
            isThere(object, generation) &&
            (finalReasons.has(ownReason(object)) || isHopeless(object)),
        )?.object;
        if (failed !== undefined) {
          throw new OffshootError(
            'manifest/failed',
            {
              ...{ kind: failed.kind, name: failed.name, namespace: failed.namespace },
              ...{ why: failed.message, reason: ownReason(failed) },
            },
            { ...(failed.log && { output: failed.log.join('\n') }) },
          );
        }
        if (pruned.some(m => objects.has(storeName(m)))) return undefined;
        const settled = seen.every(
          ({ object, generation }) =>
            isThere(object, generation) && (object!.ready || object!.reason === imageUnknown),
        );
        return settled ? true : undefined;
      },
      last: objects => {
        const object = missing(objects);
        const job = object?.kind === 'Job' ? ' (until its end; --no-wait does not wait for it)' : '';
        return object && `${storeName(object)}: ${object.message}${job}`;
      },
      output: objects => missing(objects)?.log?.join('\n'),
    });
  } finally {
    progress.end();
  }
  return last;
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
