/**
 * Who a pod is that shows a token of its service account: what the cluster says of the token names the pod, and the pod's
 * owners name the workload. Nothing of it is what the pod itself says. Whoever may make pods in a namespace can be any
 * workload of that namespace, as he could anyway by a command in one of its pods; of no other.
 */
import { OffshootError } from '../model/errors.ts';
import type { WorkloadKind } from '../model/kubernetes.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { workloadPath } from '../model/workload.ts';
import type { ClusterClient, Limits } from './client.ts';
import { type KubernetesObject, type OwnerReference, type Resource, resources } from './resource.ts';

/** Whom the tokens of our pods are for; a token for anybody else proves nothing here. */
export const audience = 'offshoot';

export type PodIdentityOptions = {
  readonly client: ClusterClient;
  /** Of the controller. */
  readonly namespace: string;
  /** Service accounts in it by what their pods are. */
  readonly accounts: { readonly gateway: string; readonly node: string };
  /** Whether workloads of a namespace are of the baseline. */
  readonly isBaseline: (namespace: string) => boolean;
};

/**
 * @returns `gateway`, `node/NAME-OF-POD` or `workload/PATH` (see `workloadPath`)
 * @throws OffshootError identity/refused, kubernetes/…
 */
export async function podIdentity(o: PodIdentityOptions, token: string, limits: Limits): Promise<string> {
  const { client, namespace, accounts } = o;
  const refused = (why: string) => new OffshootError('identity/refused', { why });
  const account = await reviewed(client, token, limits);
  if (account === undefined) throw refused('its token is not taken by the cluster, or is not for us');
  if (account.pod === undefined) throw refused('its token is not of a pod');
  const { name, uid } = account.pod;
  const pod = await client.get(resources.Pod, { namespace: account.namespace, name }, limits);
  if (pod === undefined || pod.metadata.uid !== uid)
    throw refused(`the pod ${account.namespace}/${name} is gone`);
  if (account.namespace === namespace) {
    if (account.name === accounts.gateway) return 'gateway';
    if (account.name === accounts.node) return `node/${name}`;
  }
  const where = `the pod ${account.namespace}/${name}`;
  if (!o.isBaseline(account.namespace)) throw refused(`${where} is not in a namespace of the baseline`);
  if (pod.metadata.labels?.[forkLabel] !== undefined) throw refused(`${where} is of a fork`);
  const workload = await workloadOf(client, pod, limits);
  if (workload === undefined) throw refused(`${where} belongs to no workload that can be forked`);
  return `workload/${workloadPath(workload)}`;
}

/** Of a fork's pods, see drivers/cluster/fork-objects.ts. */
export const forkLabel = 'offshoot.dev/fork';

/**
 * The workload of the baseline whose pod it is: that of its owner, and of the owner of that.
 * @returns undefined when something else owns it, or its owner is gone
 */
export async function workloadOf(
  client: ClusterClient,
  pod: KubernetesObject,
  limits: Limits = {},
): Promise<WorkloadKey | undefined> {
  const namespace = pod.metadata.namespace!;
  const owner = controllerOf(pod);
  if (owner === undefined) return { kind: 'Pod', namespace, name: pod.metadata.name };
  const known = kinds[owner.kind as OwnerKind];
  if (known === undefined || !owner.apiVersion.startsWith(known.group)) return undefined;
  const own = { kind: owner.kind as WorkloadKind, namespace, name: owner.name };
  if (known.above === undefined) return own;
  const object = await client.get(known.resource, { namespace, name: owner.name }, limits);
  if (object === undefined || object.metadata.uid !== owner.uid) return undefined;
  const above = controllerOf(object);
  if (above === undefined) return own;
  if (!known.above.includes(above.kind)) return undefined;
  return { kind: above.kind as WorkloadKind, namespace, name: above.name };
}

// --- internal ------------------------------------------------------------------------------------

type OwnerKind = 'ReplicaSet' | 'StatefulSet' | 'DaemonSet' | 'ReplicationController' | 'Job';

/** What can own a pod, and what that can belong to itself. */
const kinds: Readonly<
  Record<
    OwnerKind,
    { readonly group: string; readonly resource: Resource; readonly above?: readonly string[] }
  >
> = {
  ReplicaSet: { group: 'apps/', resource: resources.ReplicaSet, above: ['Deployment', 'Rollout'] },
  StatefulSet: { group: 'apps/', resource: resources.StatefulSet },
  DaemonSet: { group: 'apps/', resource: resources.DaemonSet },
  ReplicationController: { group: 'v1', resource: resources.ReplicationController },
  Job: { group: 'batch/', resource: resources.Job, above: ['CronJob'] },
};

const controllerOf = ({ metadata }: KubernetesObject): OwnerReference | undefined =>
  metadata.ownerReferences?.find(({ controller }) => controller === true);

type Account = {
  readonly namespace: string;
  readonly name: string;
  readonly pod?: { readonly name: string; readonly uid: string };
};

type TokenReview = KubernetesObject & {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly user?: {
      readonly username?: string;
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
};

/** @returns undefined for a token that proves nothing to us */
async function reviewed(client: ClusterClient, token: string, limits: Limits): Promise<Account | undefined> {
  const review: TokenReview = {
    ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
    // The API server wants none; our client names what it asks for by it.
    metadata: { name: '' },
    spec: { token, audiences: [audience] },
  };
  const { status } = await client.create<TokenReview>(resources.TokenReview, review, limits);
  // A server that knows nothing of audiences says none: then the token may be for anybody.
  if (status?.authenticated !== true || !status.audiences?.includes(audience)) return undefined;
  const [, namespace, name] =
    /^system:serviceaccount:([^:]+):([^:]+)$/.exec(status.user?.username ?? '') ?? [];
  if (namespace === undefined || name === undefined) return undefined;
  const extra = (key: string) => status.user?.extra?.[`authentication.kubernetes.io/${key}`]?.[0];
  const [pod, uid] = [extra('pod-name'), extra('pod-uid')];
  return { namespace, name, ...(pod && uid && { pod: { name: pod, uid } }) };
}
