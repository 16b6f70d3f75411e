/** Waiting until what was deployed answers as it is asked for. */
import { OffshootError } from '../model/errors.ts';
import type { ManifestView } from '../model/view.ts';
import { isWorkloadKind } from '../model/workload.ts';
import type { Cli } from './context.ts';
import { createProgress } from './progress.ts';
import { waitFor } from './wait.ts';

/** Reasons that waiting does not mend; the same words as the workload runtime uses. */
const finalReasons = new Set(['CommandNotFound', 'ConfigError', 'PortTaken', 'Failed']);
/** The same, but told of all at the end, and no reason not to wait for the others. */
const imageUnknown = 'ImageUnknown';

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
            (finalReasons.has(object.reason) ||
              (/^(Init:)?CrashLoopBackOff$/.test(object.reason) && (object.restarts ?? 0) >= 3)),
        )?.object;
        if (failed !== undefined) {
          throw new OffshootError(
            'manifest/failed',
            { kind: failed.kind, name: failed.name, namespace: failed.namespace, why: failed.message },
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
        const { name, object } = names
          .map(({ name }) => ({ name, object: objects.get(name) }))
          .find(({ object }) => object?.ready === false) ?? { name: '', object: undefined };
        return object && `${name}: ${object.message}`;
      },
    });
  } finally {
    progress.end();
  }
  return last;
}
