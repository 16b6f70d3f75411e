/** Fork derivation: the one place where a sandbox's changed copy of a workload comes from, for every runtime. */
import { createHash } from 'node:crypto';
import { claimOfPod } from './claims.ts';
import { literal } from './container-env.ts';
import { OffshootError } from './errors.ts';
import { changeEnv, type EnvSources } from './fork-env.ts';
import { patchWorkload } from './fork-patch.ts';
import type { Container, EnvVar, FieldFiles, Meta, Volume, Workload } from './kubernetes.ts';
import { labelOf, similarName } from './names.ts';
import { givenMeta, podMetaField, podMetaText, podMetaValue } from './pod-meta.ts';
import type { Fork, Labels, WorkloadKey } from './sandbox.ts';

export type ForkInput = EnvSources & {
  /** Checked: it has at least one container. */
  readonly baseline: Workload;
  readonly fork: Fork;
  readonly sandboxName: string;
  readonly routingKey: string;
};

/**
 * The workload of a fork. Pure and deterministic; nothing of the result is shared with the input.
 *
 * 1. One replica; no status. `images`, then `env`, in the order of the document. Without `container` they mean the
 *    main container, the first of the baseline.
 * 2. `patch`, which sees the result of the former and so has the last word on what a user may change.
 * 3. What containers read of their pod's labels and annotations: variables as values, files by annotations of ours that
 *    hold their text, because the labels go next, and a program that takes its name from one is to have the same name in
 *    the fork. What a controller gives each pod (a number, the pod's name) is the fork's own.
 * 4. Identity: same kind and namespace, name, labels and selector of our own, whatever the patch did to them. None of
 *    the baseline's labels stay, so that no Service selects the fork; annotations stay.
 * 5. The downward API of ours: sandbox name and routing key, in the main container. Ours win over any variable of the
 *    same name, because requests are routed by them, and stand first, so that `$(NAME)` can mean them everywhere.
 *
 * @throws OffshootError fork/* naming the customization that cannot be done.
 */
export function deriveFork(input: ForkInput): Workload {
  const { baseline, sandboxName } = input;
  const { forkOf, customizations = {} } = input.fork;
  const at = `fork of ${forkOf.namespace}/${forkOf.name}, customizations`;
  const main = baseline.spec.template.spec.containers[0]!.name;

  let derived = forkable(structuredClone(baseline));
  (customizations.images ?? []).forEach(({ container = main, image }, i) => {
    checkContainer(baseline, container, `${at}.images[${i}]`);
    derived = editContainer(derived, container, old => ({ ...old, image }));
  });
  (customizations.env ?? []).forEach((operation, i) => {
    const { container = main } = operation;
    const path = `${at}.env[${i}]`;
    checkContainer(baseline, container, path);
    derived = editContainer(derived, container, old => ({
      ...old,
      env: changeEnv(old.env ?? [], operation, input, path),
    }));
  });
  if (customizations.patch !== undefined)
    derived = patchWorkload(derived, customizations.patch, `${at}.patch`);
  derived = withIdentity(withOwnMeta(derived), baseline, sandboxName, forkOf);
  return withDownwardApi(derived, main, input);
}

/** Name of the Deployment of a fork, unique in its namespace. */
export function forkName(sandboxName: string, { kind, namespace, name }: WorkloadKey): string {
  const hash = createHash('sha256').update([sandboxName, kind, namespace, name].join('\0')).digest('hex');
  return labelOf([sandboxName, 'dep', name, hash.slice(0, 8)]);
}

/** Labels of a fork's Deployment and pods, and its selector. */
export const forkLabels = (sandboxName: string, { name }: WorkloadKey): Labels => ({
  'offshoot.dev/sandbox': sandboxName,
  // A label's value holds 63 characters, a Deployment's name up to 253.
  'offshoot.dev/fork-of': name.length <= 63 ? name : labelOf([name]),
});

// --- internal -----------------------------------------------------------------------------------

/** Written by tools about the baseline itself; not true of its fork. */
const annotationsOfBaseline = [
  'kubectl.kubernetes.io/last-applied-configuration',
  'deployment.kubernetes.io/revision',
];

/** With labels, even if none, so that a patch can add one; one pod. */
function forkable({ apiVersion, kind, metadata, spec }: Workload): Workload {
  const template = { ...spec.template, metadata: { labels: {}, ...spec.template.metadata } };
  // How an update goes on over many pods, or waits, would keep the only one from being updated, or take it away before the
  // next is there.
  const { updateStrategy: _, strategy: { rollingUpdate: __, ...strategy } = {}, paused: ___, ...rest } = spec;
  const how = Object.keys(strategy).length > 0 && { strategy };
  const one = { ...rest, ...how, replicas: 1, template };
  return {
    ...{ apiVersion, kind, metadata: { labels: {}, ...metadata } },
    spec: kind === 'StatefulSet' ? withoutStableNames(one, metadata.name) : one,
  };
}

/**
 * The pods of a StatefulSet have names that last, at its Service and at their disks. Those of a fork do not take them:
 * its disks are what its runtime makes of the first pod's (see `forkVolumes` in drivers/contract.ts).
 */
function withoutStableNames(spec: Workload['spec'], name: string): Workload['spec'] {
  const {
    serviceName: _,
    volumeClaimTemplates = [],
    persistentVolumeClaimRetentionPolicy: __,
    ...rest
  } = spec;
  const own = volumeClaimTemplates.map(({ metadata }) => ({
    name: metadata.name,
    persistentVolumeClaim: { claimName: claimOfPod(metadata.name, name, spec.ordinals?.start ?? 0) },
  }));
  const pod = rest.template.spec;
  const others = (pod.volumes ?? []).filter(volume => !own.some(claim => claim.name === volume.name));
  const volumes = [...others, ...own];
  const withVolumes = { ...pod, ...(volumes.length > 0 && { volumes }) };
  return { ...rest, template: { ...rest.template, spec: withVolumes } };
}

/** Labels and annotations that variables refer to, as values, and those that files are made of. */
function withOwnMeta(workload: Workload): Workload {
  const { template } = workload.spec;
  const { metadata = {}, spec } = template;
  const given = givenMeta(workload, { name: '', index: '' });
  /** Keys that a cluster gives each pod; they are not the baseline's to keep. */
  const isGiven = (fieldPath: string): boolean => {
    const field = podMetaField(fieldPath);
    return field !== undefined && Object.hasOwn(given[field.map], field.key);
  };
  const settle = (variable: EnvVar): EnvVar => {
    const path = variable.valueFrom?.fieldRef?.fieldPath ?? '';
    const field = podMetaField(path);
    if (field === undefined || isGiven(path)) return variable;
    // As in the kubelet, a value that is not empty wins over valueFrom.
    return { name: variable.name, value: variable.value || literal(podMetaValue(metadata, field)) };
  };
  const settled = (list: readonly Container[]) =>
    list.map(container => (container.env ? { ...container, env: container.env.map(settle) } : container));
  const texts: Record<string, string> = {};
  const settleFile = (item: FieldFile): FieldFile => {
    const path = item.fieldRef?.fieldPath ?? '';
    const text = isGiven(path) ? undefined : podMetaText(metadata, path);
    if (text === undefined) return item;
    const name = `offshoot.dev/of-baseline-${Object.keys(texts).length}`;
    texts[name] = text;
    return { ...item, fieldRef: { ...item.fieldRef, fieldPath: `metadata.annotations['${name}']` } };
  };
  const volumes = spec.volumes?.map(volume => withFieldFiles(volume, settleFile));
  const podSpec = {
    ...spec,
    containers: settled(spec.containers),
    ...(spec.initContainers && { initContainers: settled(spec.initContainers) }),
    ...(volumes && { volumes }),
  };
  const annotations = { ...metadata.annotations, ...texts };
  const withTexts = Object.keys(texts).length === 0 ? metadata : { ...metadata, annotations };
  return {
    ...workload,
    spec: { ...workload.spec, template: { ...template, metadata: withTexts, spec: podSpec } },
  };
}

type FieldFile = NonNullable<FieldFiles['items']>[number];

/** With `change` applied to each file that the downward API makes. */
function withFieldFiles(volume: Volume, change: (item: FieldFile) => FieldFile): Volume {
  const changed = (files: FieldFiles): FieldFiles => ({
    ...files,
    ...(files.items && { items: files.items.map(change) }),
  });
  const { downwardAPI, projected } = volume;
  if (downwardAPI) return { ...volume, downwardAPI: changed(downwardAPI) };
  if (projected?.sources === undefined) return volume;
  const sources = projected.sources.map(source =>
    source.downwardAPI ? { ...source, downwardAPI: changed(source.downwardAPI) } : source,
  );
  return { ...volume, projected: { ...projected, sources } };
}

function withIdentity(
  { metadata, spec }: Workload,
  { apiVersion, kind }: Workload,
  sandboxName: string,
  forkOf: WorkloadKey,
): Workload {
  const labels = forkLabels(sandboxName, forkOf);
  return {
    apiVersion,
    kind,
    metadata: {
      name: forkName(sandboxName, forkOf),
      namespace: forkOf.namespace,
      labels,
      ...annotationsOf(metadata),
    },
    spec: {
      ...spec,
      selector: { matchLabels: labels },
      template: { ...spec.template, metadata: { labels, ...annotationsOf(spec.template.metadata) } },
    },
  };
}

function annotationsOf(metadata: Partial<Meta> | undefined): Pick<Meta, 'annotations'> {
  if (metadata?.annotations === undefined) return {};
  const kept = Object.entries(metadata.annotations).filter(([name]) => !annotationsOfBaseline.includes(name));
  return { annotations: Object.fromEntries(kept) };
}

/** Names are unique over containers and init containers, so both are looked through. */
function checkContainer({ kind, metadata, spec }: Workload, name: string, path: string): void {
  const { containers, initContainers = [] } = spec.template.spec;
  const names = [...containers, ...initContainers].map(container => container.name);
  if (names.includes(name)) return;
  throw new OffshootError('fork/container-unknown', {
    path,
    workload: `${kind} "${metadata.name}"`,
    container: name,
    containers: names.join(', '),
    similar: similarName(name, names),
  });
}

function editContainer(
  workload: Workload,
  name: string,
  edit: (container: Container) => Container,
): Workload {
  const { template } = workload.spec;
  const { containers, initContainers } = template.spec;
  const edited = (list: readonly Container[]) => list.map(c => (c.name === name ? edit(c) : c));
  const podSpec = {
    ...template.spec,
    containers: edited(containers),
    ...(initContainers && { initContainers: edited(initContainers) }),
  };
  return { ...workload, spec: { ...workload.spec, template: { ...template, spec: podSpec } } };
}

function withDownwardApi(workload: Workload, main: string, { sandboxName, routingKey }: ForkInput): Workload {
  const values = {
    OFFSHOOT_SANDBOX_NAME: sandboxName,
    OFFSHOOT_ROUTING_KEY: routingKey,
    SIGNADOT_SANDBOX_NAME: sandboxName,
    SIGNADOT_SANDBOX_ROUTING_KEY: routingKey,
  };
  const ours = Object.entries(values).map(([name, value]): EnvVar => ({ name, value }));
  const { containers } = workload.spec.template.spec;
  // A patch may have put a container before the main one, or removed it.
  const target = containers.some(c => c.name === main) ? main : containers[0]!.name;
  return editContainer(workload, target, container => {
    const others = (container.env ?? []).filter(variable => !Object.hasOwn(values, variable.name));
    return { ...container, env: [...ours, ...others] };
  });
}
