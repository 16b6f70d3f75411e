/** What there is of steps in one namespace: their Jobs, pods, and the cluster's word on pods that it does not make. */
import type { ClusterClient } from '../../kubernetes/client.ts';
import { type Informer, informer } from '../../kubernetes/informer.ts';
import { resources } from '../../kubernetes/resource.ts';
import { Listeners } from '../../lib/listeners.ts';
import type { Log } from '../../lib/log.ts';
import type { Capability } from '../contract.ts';
import { stepAnnotations, stepLabels } from './step-objects.ts';
import type { StepPod, StepSeen } from './step-state.ts';

export type StepJob = NonNullable<StepSeen['job']> & {
  readonly id: string;
  readonly name: string;
  readonly uid: string;
  readonly hash: string;
};

export type StepWatch = {
  readonly jobs: Informer<StepJob>;
  podsOf(job: string): readonly StepPod[];
  /** Why a Job, by its uid, gets no pod. */
  refusalOf(uid: string): string | undefined;
  /** @param job its name; `look` is called whenever something of it has changed. @throws the signal's reason */
  until<T>(job: string, look: () => T | undefined, signal: AbortSignal): Promise<T>;
  capabilities(): readonly Capability[];
  close(): Promise<void>;
};

/**
 * Resolves when all that is there is known.
 * @throws OffshootError kubernetes/forbidden, and what else the cluster says: an informer would try for ever
 */
export async function watchSteps({
  client,
  namespace,
  installation,
  log,
}: {
  readonly client: ClusterClient;
  readonly namespace: string;
  readonly installation: string;
  readonly log: Log;
}): Promise<StepWatch> {
  await Promise.all(
    [resources.Job, resources.Pod, resources.Event].map(resource => client.now(resource, { namespace })),
  );
  const changes = new Listeners<string>();
  const pods = new Map<string, Map<string, StepPod>>();
  const refusals = new Map<string, string>();
  const ours = { labelSelector: `${stepLabels.installation}=${installation}` };
  const common = { client, namespace, log };

  const jobs = informer<StepJob>({
    ...{ ...common, resource: resources.Job, selection: ours },
    keep({ metadata, status }) {
      const { name, uid = '', annotations = {} } = metadata;
      const { conditions = [] } = (status ?? {}) as { conditions?: StepJob['conditions'] };
      const [id = '', hash = ''] = [annotations[stepAnnotations.id], annotations[stepAnnotations.spec]];
      return { id, name, uid, hash, conditions };
    },
    onChange: ({ before, now }) => changes.tell((now ?? before)!.name),
  });

  const podInformer = informer<StepPod & { readonly job: string }>({
    ...{ ...common, resource: resources.Pod, selection: ours },
    keep({ metadata, status }) {
      const { name, labels = {}, deletionTimestamp, ownerReferences = [] } = metadata;
      return {
        ...{ name, namespace, deleting: deletionTimestamp !== undefined },
        ...{ owner: ownerReferences[0]?.uid ?? '', job: labels[stepLabels.step] ?? '' },
        status: (status ?? {}) as StepPod['status'],
      };
    },
    onChange({ before, now }) {
      const { job, name } = (now ?? before)!;
      const all = pods.get(job) ?? new Map<string, StepPod>();
      if (now === undefined) all.delete(name);
      else all.set(name, now);
      if (all.size === 0) pods.delete(job);
      else pods.set(job, all);
      changes.tell(job);
    },
  });

  type Refusal = { readonly job: string; readonly uid: string; readonly message: string };
  const events = informer<Refusal>({
    ...{ ...common, resource: resources.Event },
    selection: { fieldSelector: 'involvedObject.kind=Job,reason=FailedCreate' },
    keep({ involvedObject, message }) {
      const { name = '', uid = '' } = (involvedObject ?? {}) as { name?: string; uid?: string };
      return { job: name, uid, message: String(message ?? '').slice(0, LONGEST) };
    },
    onChange({ before, now }) {
      if (now === undefined) refusals.delete(before!.uid);
      else refusals.set(now.uid, now.message);
      changes.tell((now ?? before)!.job);
    },
  });

  const all = [jobs, podInformer, events];
  const close = async () => void (await Promise.all(all.map(one => one.close())));
  try {
    await Promise.all(all.map(({ synced }) => synced));
  } catch (error) {
    await close();
    throw error;
  }

  return {
    ...{ jobs, close },
    podsOf: job => [...(pods.get(job)?.values() ?? [])],
    refusalOf: uid => refusals.get(uid),
    async until(job, look, signal) {
      let wake: (() => void) | undefined;
      const woken = () => wake?.();
      const stop = changes.add(changed => void (changed === job && woken()));
      signal.addEventListener('abort', woken);
      try {
        for (;;) {
          signal.throwIfAborted();
          const { promise, resolve } = Promise.withResolvers<void>();
          wake = resolve;
          const found = look();
          if (found !== undefined) return found;
          await promise;
        }
      } finally {
        stop();
        signal.removeEventListener('abort', woken);
      }
    },
    capabilities: () =>
      all.map(one => {
        const { resource, synced, failure } = one.state();
        return { name: resource, ok: synced && failure === undefined, detail: failure?.message ?? 'watched' };
      }),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Characters of an event's sentence. */
const LONGEST = 1_000;
