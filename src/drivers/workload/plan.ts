/** From a workload to pods: how many there are of what, and how they are replaced. Pure. */
import { createHash } from 'node:crypto';
import type { PodTemplate } from '../../model/kubernetes.ts';
import type { Node } from '../../model/resource-field.ts';
import type { WorkloadSpec } from '../contract.ts';
import type { FoundEngine } from '../engine/contract.ts';
import { runnerOf } from '../runner-of.ts';
import { type ContainerPlan, planContainer } from './container-plan.ts';
import { type Rollout, rolloutOf } from './rollout-plan.ts';
import { type RunPlan, runOf } from './run.ts';
import { planVolumes, type VolumePlan } from './volume-plan.ts';

/** What every pod of a workload is like. Complete but for what is chosen when a pod starts: see stand-in.ts. */
export type PodPlan = {
  /** In the order in which they start: init containers and sidecars one after the other, then the others together. */
  readonly containers: readonly ContainerPlan[];
  /** Wants to share the network of this machine, whatever is possible. */
  readonly hostNetwork: boolean;
  /** Wants to see the processes of this machine. */
  readonly hostPID?: true;
  readonly volumes: readonly VolumePlan[];
  readonly restartPolicy: RestartPolicy;
  /** From the request to end until the kill, preStop hooks included. */
  readonly graceMs: number;
  /** See WorkloadSpec. */
  readonly restart?: string;
};

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never';

/** Why nothing can be started, in the words of `WorkloadSeen`. */
export type Problem = {
  readonly reason: string;
  readonly message: string;
  /** Of a container that has ended; 128 and more: by a signal. */
  readonly exitCode?: number;
};

export type WorkloadPlan = {
  /** Absent when there is a problem. */
  readonly pod?: PodPlan;
  /** Names of pods are this and the number of the pod. */
  readonly name: string;
  /** A bare Pod: its name is that alone. */
  readonly bare?: true;
  readonly namespace: string;
  readonly replicas: number;
  readonly rollout: Rollout;
  /** Of what runs to its end. */
  readonly run?: RunPlan;
  /** What its pods are called beside their names. */
  readonly hostname?: string;
  readonly hosts: WorkloadSpec['network']['hosts'];
  readonly problem?: Problem;
};

export type Where = {
  /** Seen by the containers as what they run on. */
  readonly node: Node;
  /** Pods can have networks of their own. */
  readonly networks: boolean;
  /** For images without an entry; see `runnerOf`. */
  readonly engine: FoundEngine | { readonly why: string };
};

export function planWorkload(spec: WorkloadSpec, where: Where): WorkloadPlan {
  const { workload } = spec;
  const { name, namespace = 'default' } = workload.metadata;
  const { replicas = 1, template } = workload.spec;
  const bare = workload.kind === 'Pod' ? ({ bare: true } as const) : {};
  const hosts = [...aliasesOf(template), ...spec.network.hosts];
  const { hostname } = template.spec;
  const called = hostname ? { hostname } : {};
  const plan = { name, ...bare, ...called, namespace, replicas, rollout: rolloutOf(workload), hosts };
  const hostNetwork = template.spec.hostNetwork === true || !canJoin(spec, where);
  const volumes = planVolumes(spec, where.node);
  if (typeof volumes === 'string') return { ...plan, problem: { reason: 'ConfigError', message: volumes } };
  const planned = allContainers(template).map(([container, role]) =>
    planContainer(spec, container, role, volumes, { ...where, networks: where.networks && !hostNetwork }),
  );
  const problem = planned.find(one => 'reason' in one);
  if (problem !== undefined) return { ...plan, problem };
  const containers = planned.filter(one => 'argv' in one);
  const restart = spec.restart === undefined ? {} : { restart: spec.restart };
  const hostPID = template.spec.hostPID === true ? ({ hostPID: true } as const) : {};
  const pod = { containers, volumes, hostNetwork, ...hostPID, ...endsOf(template), ...restart };
  const run = runOf(workload, pod.restartPolicy);
  return { ...plan, pod, ...(run && { run }) };
}

/**
 * Whether a pod that runs by `before` may go on under `after`. Services that came or went since do not count: as in
 * Kubernetes their variables reach a container at its next start. One that moved does.
 */
export function samePod(before: PodPlan, after: PodPlan): boolean {
  const moved = before.containers.some(({ network }, i) =>
    Object.entries(network).some(([name, value]) => {
      const now = after.containers[i]?.network[name];
      return now !== undefined && now !== value;
    }),
  );
  return !moved && JSON.stringify(withoutNetwork(before)) === JSON.stringify(withoutNetwork(after));
}

/** Of everything that makes a difference to the pods; not of hosts and service variables, which come and go. */
export const workloadHash = ({ pod, replicas, rollout, run, problem }: WorkloadPlan): string =>
  createHash('sha256')
    .update(JSON.stringify({ pod: pod && withoutNetwork(pod), replicas, rollout, run, problem }))
    .digest('hex');

// --- internal -----------------------------------------------------------------------------------

/** First, because what a manifest says of a name counts more than what Services say. */
const aliasesOf = ({ spec }: PodTemplate): WorkloadPlan['hosts'] =>
  (spec.hostAliases ?? []).flatMap(({ ip, hostnames = [] }) =>
    hostnames.length === 0 ? [] : [{ ip, names: hostnames }],
  );

/** A pod has one network: where its containers cannot enter one of its own, nothing of it does. */
const canJoin = ({ workload, images }: WorkloadSpec, { engine }: Where): boolean =>
  allContainers(workload.spec.template).every(([{ image }]) => {
    const runner = runnerOf(images, image, engine);
    return !('engine' in runner) || runner.engine.joinsNetworks;
  });

/** With what a container is for (Kubernetes, "Sidecar Containers"). */
const allContainers = ({ spec }: PodTemplate) => [
  ...(spec.initContainers ?? []).map(
    container => [container, container.restartPolicy === 'Always' ? 'sidecar' : 'init'] as const,
  ),
  ...spec.containers.map(container => [container, 'main'] as const),
];

/**
 * A workload that says nothing gets less than the 30 s of Kubernetes: most programs end at once, and those that are
 * deaf would hold up every `down`.
 */
const USUAL_GRACE_S = 3;
/** A removal is to end within its deadline. */
const MOST_GRACE_S = 45;

function endsOf({ spec }: PodTemplate): Pick<PodPlan, 'restartPolicy' | 'graceMs'> {
  const { restartPolicy, terminationGracePeriodSeconds: grace } = spec;
  const seconds = typeof grace === 'number' ? Math.min(Math.max(0, grace), MOST_GRACE_S) : USUAL_GRACE_S;
  return {
    restartPolicy: restartPolicy === 'Never' || restartPolicy === 'OnFailure' ? restartPolicy : 'Always',
    graceMs: seconds * 1000,
  };
}

const withoutNetwork = (pod: PodPlan) => ({
  ...pod,
  containers: pod.containers.map(container => ({ ...container, network: {} })),
});
