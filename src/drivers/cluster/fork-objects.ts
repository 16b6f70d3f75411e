/**
 * What a fork is in a cluster: a Deployment beside its baseline, a Service of its own where it has ports, and a Secret
 * for values that nobody else is to read. All three have one name and the namespace of the baseline. Pure.
 */
import { createHash } from 'node:crypto';
import type { KubernetesObject } from '../../kubernetes/resource.ts';
import { literal } from '../../model/container-env.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Container, EnvVar, Volume, Workload } from '../../model/kubernetes.ts';
import { listenerOf, workloadPorts } from '../../model/workload-ports.ts';
import type { WorkloadSpec } from '../contract.ts';

export type ForkObjects = {
  readonly namespace: string;
  readonly name: string;
  /** Equal hashes mean equal objects. */
  readonly hash: string;
  readonly deployment: KubernetesObject;
  readonly service?: KubernetesObject;
  readonly secret?: KubernetesObject;
};

export const forkLabels = {
  /** Of all three objects and of the pods: whose they are, among installations in one cluster. */
  installation: 'offshoot.dev/installation',
  /** The same: their common name. It alone is the selector, so no two forks share pods. */
  fork: 'offshoot.dev/fork',
  sandbox: 'offshoot.dev/sandbox',
} as const;

export const forkAnnotations = {
  /** The driver's id; it may be longer than a label. */
  id: 'offshoot.dev/id',
  owner: 'offshoot.dev/owner',
  /** Of the Deployment and of its pods: what they were made of. */
  spec: 'offshoot.dev/spec',
  restart: 'offshoot.dev/restart',
} as const;

/**
 * @param installation namespace of the installation whose sandbox it is
 * @throws OffshootError fork/shares-claim
 */
export function forkObjects(id: string, spec: WorkloadSpec, installation: string): ForkObjects {
  const { metadata } = spec.workload;
  const [namespace, name] = [metadata.namespace ?? 'default', metadata.name];
  const labels = {
    ...metadata.labels,
    [forkLabels.installation]: installation,
    [forkLabels.fork]: name,
  };
  const { workload, values } = withSecretEnv(withOwnVolumes(spec), name, spec);
  const ports = portsOf(workload, spec.network.ports);
  const template = templateOf(workload, labels, spec.restart);
  const deployment = deploymentOf(workload, template, name);
  const service =
    ports.length > 0 ? { type: 'ClusterIP', selector: { [forkLabels.fork]: name }, ports } : undefined;
  const hash = createHash('sha256')
    .update(JSON.stringify([labels, metadata.annotations, deployment, service, values]))
    .digest('hex')
    .slice(0, 16);
  const meta = {
    ...{ name, namespace, labels },
    annotations: {
      ...metadata.annotations,
      [forkAnnotations.id]: id,
      [forkAnnotations.owner]: spec.owner,
      [forkAnnotations.spec]: hash,
    },
  };
  const stamped = {
    ...template,
    metadata: {
      ...template.metadata,
      annotations: { ...template.metadata.annotations, [forkAnnotations.spec]: hash },
    },
  };
  return {
    ...{ namespace, name, hash },
    deployment: {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: meta },
      spec: { ...deployment, template: stamped },
    },
    ...(service && { service: { apiVersion: 'v1', kind: 'Service', metadata: meta, spec: service } }),
    ...(Object.keys(values).length > 0 && {
      secret: { ...{ apiVersion: 'v1', kind: 'Secret', metadata: meta, type: 'Opaque' }, stringData: values },
    }),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Fields that a Deployment shares with what else has a template; what else a StatefulSet says is about names and disks. */
function deploymentOf({ kind, spec }: Workload, template: unknown, name: string): Record<string, unknown> {
  const { minReadySeconds, progressDeadlineSeconds, strategy } = spec as Workload['spec'] & {
    readonly progressDeadlineSeconds?: number;
  };
  return {
    ...{ replicas: 1, revisionHistoryLimit: 1, selector: { matchLabels: { [forkLabels.fork]: name } } },
    ...(minReadySeconds !== undefined && { minReadySeconds }),
    ...(progressDeadlineSeconds !== undefined && { progressDeadlineSeconds }),
    ...(kind === 'Deployment' && strategy !== undefined && { strategy }),
    template,
  };
}

/** A fork gets what bears its key already, so it needs no router beside it, whatever its baseline asks for. */
export const noRouter = { 'sidecar.offshoot.dev/inject': 'false', 'sidecar.signadot.com/inject': 'false' };

function templateOf(
  { spec }: Workload,
  labels: Readonly<Record<string, string>>,
  restart: string | undefined,
) {
  const { metadata = {}, spec: pod } = spec.template;
  const annotations: Record<string, string> = {
    ...metadata.annotations,
    ...noRouter,
    ...(restart !== undefined && { [forkAnnotations.restart]: restart }),
  };
  // A pod of a Deployment always runs again.
  const { restartPolicy: _, ...rest } = pod;
  return { metadata: { annotations, labels }, spec: { ...rest, tolerations: soonElsewhere(rest) } };
}

/**
 * A fork has one pod: when its machine is gone there is another one after half a minute, not after the five that a cluster
 * gives a pod which says nothing else.
 */
function soonElsewhere(pod: object): readonly Toleration[] {
  const { tolerations = [] } = pod as { readonly tolerations?: readonly Toleration[] };
  const missing = ['not-ready', 'unreachable']
    .map(name => `node.kubernetes.io/${name}`)
    .filter(taint => !tolerations.some(({ key = taint }) => key === taint));
  const added = missing.map(key => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 30 }));
  return [...tolerations, ...added];
}

type Toleration = {
  /** Absent: whatever is wrong. */
  readonly key?: string;
  readonly operator?: string;
  readonly effect?: string;
  readonly tolerationSeconds?: number;
};

/**
 * Its own volumes where the baseline's has a claim: a fork never writes to a disk of the baseline, and a cluster has no
 * copy of one to give.
 */
function withOwnVolumes({ workload, forkVolumes = {} }: WorkloadSpec): Workload {
  const { disks, shared = [] } = forkVolumes;
  const { template } = workload.spec;
  const volumes = template.spec.volumes?.map((volume): Volume => {
    const claim = volume.persistentVolumeClaim?.claimName;
    if (claim === undefined || !shared.includes(claim)) return volume;
    if (disks === 'empty') return { name: volume.name, emptyDir: {} };
    throw new OffshootError('fork/shares-claim', { claim, volume: volume.name });
  });
  if (volumes === undefined) return workload;
  const spec = { ...template.spec, volumes };
  return { ...workload, spec: { ...workload.spec, template: { ...template, spec } } };
}

/** Variables whose values nobody else is to read become references into a Secret, where they still have them. */
function withSecretEnv(workload: Workload, secret: string, { secretEnv = [] }: WorkloadSpec) {
  const values: Record<string, string> = {};
  const hidden = (container: Container): Container => {
    if (container.env === undefined) return container;
    const env = container.env.map((variable): EnvVar => {
      const found = secretEnv.find(
        one =>
          one.container === container.name &&
          one.name === variable.name &&
          variable.value === literal(one.value),
      );
      if (found === undefined) return variable;
      const key = `${container.name}.${variable.name.replace(/[^-._a-zA-Z0-9]/g, '_')}`;
      values[key] = found.value;
      return { name: variable.name, valueFrom: { secretKeyRef: { name: secret, key } } };
    });
    return { ...container, env };
  };
  const { template } = workload.spec;
  const { containers, initContainers } = template.spec;
  const spec = {
    ...template.spec,
    containers: containers.map(hidden),
    ...(initContainers && { initContainers: initContainers.map(hidden) }),
  };
  return {
    workload: { ...workload, spec: { ...workload.spec, template: { ...template, spec } } },
    values: values as Readonly<Record<string, string>>,
  };
}

/** Of a Service: each port leads to the same one of the pod. */
function portsOf(workload: Workload, more: readonly number[]) {
  const tcp = [...new Set([...workloadPorts(workload, []), ...more])];
  return tcp
    .filter(port => listenerOf(port, workload.spec.template.spec.containers) !== undefined)
    .map(port => ({ name: `p${port}`, port, targetPort: port, protocol: 'TCP' }));
}
