/**
 * Steps of plugins as Jobs. A Job goes on when we do not: who runs the same step again finds it, waits for its end and takes
 * its outputs. When a step has ended, or is not wanted any more, nothing of it stays.
 */
import { type ClusterClient, isCode } from '../../kubernetes/client.ts';
import { type KubernetesObject, resources } from '../../kubernetes/resource.ts';
import type { Log } from '../../lib/log.ts';
import { newSealKey } from '../../lib/sealed.ts';
import { Stopping } from '../../lib/stopping.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Ctx, StepCause, StepDriver, StepSpec } from '../contract.ts';
import { stepName } from '../step-end.ts';
import { stepRuns } from '../step-runs.ts';
import {
  outputPathProblem,
  type StepPlace,
  sealKey,
  stepAnnotations,
  stepJobName,
  stepLabels,
  stepNamespace,
  stepObjects,
} from './step-objects.ts';
import { followStep, type StepJobRun, stoppedStep } from './step-run.ts';
import { type StepWatch, watchSteps } from './step-watch.ts';

export type ClusterStepsOptions = StepPlace & {
  readonly client: ClusterClient;
  /** Further namespaces that plugins may name: what a process before us has left there is found. */
  readonly namespaces?: readonly string[];
  readonly log: Log;
};

export type ClusterSteps = StepDriver & { close(): Promise<void> };

export function openClusterSteps(options: ClusterStepsOptions): ClusterSteps {
  const { client, installation, log } = options;
  const watches = new Map<string, Promise<StepWatch>>();
  /** Uids of Jobs whose outcome has been told. */
  const over = new Set<string>();
  const runs = stepRuns();

  const watchOf = (namespace: string): Promise<StepWatch> => {
    const there = watches.get(namespace);
    if (there !== undefined) return there;
    const opening = watchSteps({ client, namespace, installation, log });
    watches.set(namespace, opening);
    opening.catch(() => watches.delete(namespace)); // asked again, when somebody has given us the right
    return opening;
  };

  /** Takes up the Job that is there when it is of the same step, else makes it. */
  const begin = async (id: string, spec: StepSpec, watch: StepWatch, { signal, log }: Ctx) => {
    const objects = stepObjects(id, spec, options, newSealKey());
    const { namespace, name, hash, secret } = objects;
    const run = { step: stepName(id), spec, namespace, name };
    const there = watch.jobs.get(`${namespace}/${name}`);
    if (there?.hash === hash && !over.has(there.uid)) {
      const found = await client.get<SecretObject>(resources.Secret, { namespace, name }, { signal });
      const key = found?.data?.[sealKey];
      if (key !== undefined && found?.metadata.annotations?.[stepAnnotations.spec] === hash) {
        log.info({ step: id, job: name }, 'a step that runs already is taken up');
        return { ...run, uid: there.uid, key: Buffer.from(key, 'base64').toString() };
      }
    }
    const isFree = there === undefined && watch.podsOf(name).length === 0;
    if (!isFree) await clear(namespace, name, watch, signal);
    const made = await client
      .create<SecretObject>(resources.Secret, secret, { signal })
      .catch(async error => {
        if (!isCode(error, 'kubernetes/conflict')) throw error;
        await clear(namespace, name, watch, signal);
        return client.create<SecretObject>(resources.Secret, secret, { signal });
      });
    const job = await client.create(resources.Job, objects.job(made.metadata.uid!), { signal });
    watch.jobs.offer(job);
    const { [sealKey]: key } = secret.stringData as Readonly<Record<string, string>>;
    return { ...run, uid: job.metadata.uid!, key: key! };
  };

  /** Ends whatever runs, and returns when it has ended. */
  const clear = async (namespace: string, name: string, watch: StepWatch, signal: AbortSignal) => {
    const labelSelector = `${stepLabels.step}=${name}`;
    // Before the Job, whose end would give them all the time that a pod has.
    for await (const { items } of client.pages(resources.Pod, { namespace }, { labelSelector }, { signal }))
      for (const { metadata } of items)
        await client.remove(resources.Pod, { namespace, name: metadata.name }, { signal, graceSeconds: 1 });
    await forget(namespace, name, watch, signal);
    await watch.until(name, () => (watch.podsOf(name).some(isAlive) ? undefined : true), signal);
  };

  /** When it has ended: nothing runs, so nobody has to wait. */
  const forget = async (namespace: string, name: string, watch: StepWatch, signal: AbortSignal) => {
    const place = { namespace, name };
    const uid = watch.jobs.get(`${namespace}/${name}`)?.uid;
    await Promise.all([resources.Job, resources.Secret].map(kind => client.remove(kind, place, { signal })));
    if (uid !== undefined) watch.jobs.ended({ metadata: { ...place, uid } });
  };

  const runOnce = async (id: string, spec: StepSpec, ctx: Ctx, tell: (cause: StepCause) => void) => {
    const { signal } = ctx;
    const step = stepName(id);
    const namespace = stepNamespace(spec, options);
    let watch: StepWatch | undefined;
    let run: StepJobRun | undefined;
    try {
      watch = await watchOf(namespace);
      signal.throwIfAborted();
      run = await begin(id, spec, watch, ctx);
      const done = await followStep(client, watch, run, ctx, tell);
      const { uid } = run;
      await forget(namespace, run.name, watch, signal).catch(err => {
        log.warn({ err, step: id }, 'a step that has ended could not be taken away; the next one does it');
        over.add(uid);
      });
      return done;
    } catch (thrown) {
      if (signal.aborted && signal.reason instanceof Stopping) throw thrown;
      let error = run === undefined ? notBegun(step, thrown) : thrown;
      if (signal.aborted && !(thrown instanceof OffshootError))
        error =
          run && watch
            ? await stoppedStep(client, watch, run, ctx)
            : new OffshootError('step/timeout', { step });
      const name = stepJobName(id, installation);
      if (watch !== undefined)
        await clear(namespace, name, watch, AbortSignal.timeout(CLEAR_MS)).catch(err =>
          log.warn({ err, step: id }, 'a step that failed could not be taken away; the collector does it'),
        );
      throw error;
    }
  };

  /** One that nobody came to make a Job for belongs to nothing that would take it away. */
  const secretsOf = async (namespace: string, signal: AbortSignal): Promise<readonly Named[]> => {
    const labelSelector = `${stepLabels.installation}=${installation}`;
    const found: Named[] = [];
    for await (const page of client.pages(resources.Secret, { namespace }, { labelSelector }, { signal }))
      for (const { metadata } of page.items)
        found.push({ id: metadata.annotations?.[stepAnnotations.id] ?? '', name: metadata.name });
    return found;
  };

  /** What there is of all steps. */
  async function* all(signal: AbortSignal): AsyncGenerator<Named & { readonly namespace: string }, void> {
    const namespaces = [options.namespace, ...(options.namespaces ?? []), ...watches.keys()];
    for (const namespace of new Set(namespaces)) {
      const watch = await watchOf(namespace);
      for (const [, { id, name }] of watch.jobs.entries()) yield { namespace, id, name };
      for (const { id, name } of await secretsOf(namespace, signal)) yield { namespace, id, name };
    }
  }

  return {
    name: 'job',

    async capabilities() {
      const opened = await Promise.allSettled(watches.values());
      return opened.flatMap(one => (one.status === 'fulfilled' ? one.value.capabilities() : []));
    },

    pathProblem: async path => outputPathProblem(path),

    run: (id, spec, ctx, tell = () => {}) =>
      runs.run(id, ctx.signal, signal => runOnce(id, spec, { ...ctx, signal }, tell)),

    async remove(id, { signal }) {
      await runs.end(id);
      const found = new Map<string, string>();
      for await (const one of all(signal)) if (one.id === id) found.set(one.name, one.namespace);
      for (const [name, namespace] of found) await clear(namespace, name, await watchOf(namespace), signal);
    },

    async list({ signal }) {
      return [...new Set((await Array.fromAsync(all(signal))).map(({ id }) => id).filter(id => id !== ''))];
    },

    async close() {
      const opened = await Promise.allSettled(watches.values());
      await Promise.all(opened.map(one => (one.status === 'fulfilled' ? one.value.close() : undefined)));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type SecretObject = KubernetesObject & { readonly data?: Readonly<Record<string, string>> };
type Named = { readonly id: string; readonly name: string };

/** Milliseconds to take a step away that nobody wants any more. */
const CLEAR_MS = 60_000;

const isAlive = ({ status }: { readonly status: { readonly phase?: string } }): boolean =>
  status.phase !== 'Succeeded' && status.phase !== 'Failed';

const refusals = [
  'kubernetes/forbidden',
  'kubernetes/invalid',
  'kubernetes/absent',
  'kubernetes/unauthorized',
] as const;

/** What the cluster does not let us begin, with its own sentence, which names verb and resource. */
function notBegun(step: string, error: unknown): unknown {
  if (!refusals.some(code => isCode(error, code))) return error;
  const { message } = error as OffshootError;
  const reason = isCode(error, 'kubernetes/forbidden') ? 'Forbidden' : 'Refused';
  return new OffshootError('step/not-started', { step, reason, why: message }, { cause: error });
}
