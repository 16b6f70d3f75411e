/** What a workload of the baseline is made from beside its own manifest. */
import { createHash } from 'node:crypto';
import type { Baseline } from '../baseline/contract.ts';
import { deriveFork, type ForkInput } from '../model/derive.ts';
import { OffshootError } from '../model/errors.ts';
import { nowhere } from '../model/folder.ts';
import { withoutOutputs } from '../model/fork-env.ts';
import type { Workload } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { podSources } from '../model/pod-sources.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { asWorkload, keyOfWorkload, sameWorkload, workloadPath } from '../model/workload.ts';
import type { Store, Stored } from '../store/contract.ts';

type Around = { readonly store: Store; readonly baseline: Baseline };

/**
 * Differs whenever something has changed that a workload is made from: its manifest, the ConfigMaps and Secrets that
 * it refers to, the Services that select it, the images of its folder. What was seen of it is of now when it was seen
 * with these inputs. Short, and nothing of a secret can be told from it. @returns '' for what is no workload
 */
export function inputsOf({ store, baseline }: Around, object: Stored<'manifest'>): string {
  const workload = asWorkload(object.spec);
  if (workload === undefined) return '';
  const namespace = namespaceOf(workload);
  const sources = podSources(workload.spec.template);
  const revisions = [
    ...(['ConfigMap', 'Secret'] as const).flatMap(kind =>
      [...sources[kind]].sort().map(name => baseline.get(kind, namespace, name)?.revision),
    ),
    ...baseline.servicesOf(workload).map(({ name, revision }) => `${name} ${revision}`),
  ];
  const folder = store.get('folder', object.secret?.from?.folder ?? nowhere);
  const { createdAt, generation, secret } = object;
  const all = [
    ...[createdAt, generation, secret?.tries],
    ...[folder?.name, folder?.createdAt, folder?.generation],
    ...revisions,
  ];
  return createHash('sha256').update(all.join('\n')).digest('base64url').slice(0, 16);
}

/** The same of the fork of a workload in a sandbox: with its restarts, and what its document lets it refer to besides. */
export function inputsOfFork(around: Around, object: Stored<'manifest'>, sandbox: Stored<'sandbox'>): string {
  const workload = asWorkload(object.spec);
  const restarts = workload && sandbox.secret.restarts?.[workloadPath(keyOfWorkload(workload))];
  const own = workload && ownSources(around, workload, sandbox);
  return [inputsOf(around, object), restarts, own].filter(part => part !== undefined).join('.');
}

/** Whether the status of a manifest tells of what it is made from now. */
export const isCurrent = (around: Around, object: Stored<'manifest'>): boolean =>
  (object.status?.inputs ?? '') === inputsOf(around, object);

/** Workloads of the baseline that what was just deployed makes other than they are. */
export function outdated(
  around: Around,
  { namespaces, folder }: { readonly namespaces: Iterable<string>; readonly folder: string },
): readonly Stored<'manifest'>[] {
  return near(around, { namespaces, folder }).filter(m => m.deletedAt === undefined && !isCurrent(around, m));
}

/** A fork that is made anew because of what was just deployed. */
export type OutdatedFork = {
  readonly sandbox: string;
  readonly forkOf: WorkloadKey;
  /** What it is still made from. */
  readonly inputs: string;
};

/** Forks that are ready, and made from what the baseline was before. */
export function outdatedForks(
  around: Around,
  what: { readonly namespaces: Iterable<string>; readonly folder: string },
): readonly OutdatedFork[] {
  return near(around, what).flatMap(manifest => {
    const workload = asWorkload(manifest.spec);
    if (workload === undefined) return [];
    const key = keyOfWorkload(workload);
    return around.store.by('sandbox/workload', workloadPath(key)).flatMap(sandbox => {
      const { name, status, deletedAt } = sandbox;
      const now = inputsOfFork(around, manifest, sandbox);
      const fork = status?.forks.find(({ forkOf }) => sameWorkload(forkOf, key));
      if (deletedAt !== undefined || !fork?.ready || fork.inputs === undefined || fork.inputs === now)
        return [];
      return [{ sandbox: name, forkOf: key, inputs: fork.inputs }];
    });
  });
}

// --- internal -----------------------------------------------------------------------------------

/** A digest of the ConfigMaps and Secrets that a fork refers to and its baseline does not; undefined: there are none. */
function ownSources(
  { baseline }: Around,
  workload: Workload,
  { name, spec, secret }: Stored<'sandbox'>,
): string | undefined {
  const fork = spec.forks?.find(({ forkOf }) => sameWorkload(forkOf, keyOfWorkload(workload)));
  const { env = [], patch } = fork?.customizations ?? {};
  if (patch === undefined && !env.some(({ valueFrom }) => valueFrom)) return undefined;
  const derived = derivedOrNot({
    ...{ fork: withoutOutputs(fork!), baseline: workload, sandboxName: name, routingKey: secret.routingKey },
    ...{ resourceOutputs: {}, forkServices: () => undefined },
  });
  if (derived === undefined) return undefined;
  const [of, known] = [podSources(derived.spec.template), podSources(workload.spec.template)];
  const revisions = (['ConfigMap', 'Secret'] as const).flatMap(kind =>
    [...of[kind]]
      .filter(name => !known[kind].has(name))
      .sort()
      .map(name => `${kind} ${name} ${baseline.get(kind, namespaceOf(workload), name)?.revision}`),
  );
  if (revisions.length === 0) return undefined;
  return createHash('sha256').update(revisions.join('\n')).digest('base64url').slice(0, 8);
}

/** undefined: its document asks for what cannot be done, which is told where it is tried. */
function derivedOrNot(input: ForkInput): Workload | undefined {
  try {
    return deriveFork(input);
  } catch (error) {
    if (error instanceof OffshootError) return undefined;
    throw error;
  }
}

/** What is in the namespaces, or came from the folder. */
function near(
  { store }: Around,
  { namespaces, folder }: { readonly namespaces: Iterable<string>; readonly folder: string },
): readonly Stored<'manifest'>[] {
  return [
    ...new Set([
      ...[...namespaces].flatMap(namespace => store.by('manifest/namespace', namespace)),
      ...store.by('manifest/folder', folder),
    ]),
  ];
}
