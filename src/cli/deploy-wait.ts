/** Waiting until what was deployed answers as it is asked for. */
import { OffshootError } from '../model/errors.ts';
import type { ManifestView } from '../model/view.ts';
import { isWorkloadKind } from '../model/workload.ts';
import type { Cli } from './context.ts';
import { createProgress } from './progress.ts';
import { waitFor } from './wait.ts';

/** Reasons that waiting does not mend; the same words as the workload runtime uses. */
const finalReasons = new Set(['ImageUnknown', 'CommandNotFound', 'ConfigError', 'PortTaken', 'Failed']);

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
  let last: ReadonlyMap<string, ManifestView> = new Map();
  const progress = createProgress(cli);
  try {
    await waitFor<ManifestView>(cli, {
      kind: 'manifest',
      timeoutMs,
      what: 'the baseline to be ready',
      hint: 'see "offshoot status" and its log lines; a container must listen on $PORT, not on a fixed port',
      probe: objects => {
        last = objects;
        const seen = names.map(({ name, generation }) => ({ name, generation, object: objects.get(name) }));
        progress.show(
          seen
            .filter(({ object }) => object?.kind === 'Service' || isWorkloadKind(object?.kind ?? ''))
            .map(({ name, object, generation }) => {
              const ready = object!.ready && object!.observedGeneration >= generation;
              return { label: name, state: ready ? 'done' : 'running', detail: object!.message } as const;
            }),
        );
        const failed = seen.find(
          ({ object, generation }) =>
            object !== undefined &&
            object.observedGeneration >= generation &&
            (finalReasons.has(object.reason) ||
              (object.reason === 'CrashLoopBackOff' && (object.restarts ?? 0) >= 3)),
        )?.object;
        if (failed !== undefined) {
          throw new OffshootError(
            'manifest/failed',
            { kind: failed.kind, name: failed.name, namespace: failed.namespace, why: failed.message },
            { ...(failed.log && { output: failed.log.join('\n') }) },
          );
        }
        if (pruned.some(m => objects.has(storeName(m)))) return undefined;
        return seen.every(
          ({ object, generation }) => object?.ready && object.observedGeneration >= generation,
        )
          ? true
          : undefined;
      },
      last: objects => [...objects.values()].find(o => !o.ready)?.message,
    });
  } finally {
    progress.end();
  }
  return last;
}
