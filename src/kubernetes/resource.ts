/** Which objects of a cluster a call is about: the paths of its API, and how an error names them. */
import { clusterKinds, group, type KeptKind, version } from './kinds.ts';

export type Resource = {
  /** Empty: the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
};

/** What every object has. */
export type KubernetesObject = {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly OwnerReference[];
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
};

export type OwnerReference = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
};

/** Where: absent namespace means all of them, or none for what has none; absent name means all in it. */
export type Place = { readonly namespace?: string; readonly name?: string; readonly subresource?: string };

const of = (path: string): Resource => {
  const [group, version, plural] = path.split('/') as [string, string, string];
  return { group, version, plural };
};

/** What others than us define and we use. */
export const resources = {
  Deployment: of('apps/v1/deployments'),
  StatefulSet: of('apps/v1/statefulsets'),
  DaemonSet: of('apps/v1/daemonsets'),
  ReplicaSet: of('apps/v1/replicasets'),
  Rollout: of('argoproj.io/v1alpha1/rollouts'),
  Job: of('batch/v1/jobs'),
  CronJob: of('batch/v1/cronjobs'),
  EndpointSlice: of('discovery.k8s.io/v1/endpointslices'),
  ReplicationController: of('/v1/replicationcontrollers'),
  Pod: of('/v1/pods'),
  Service: of('/v1/services'),
  ConfigMap: of('/v1/configmaps'),
  Secret: of('/v1/secrets'),
  Event: of('/v1/events'),
  ServiceAccount: of('/v1/serviceaccounts'),
  Lease: of('coordination.k8s.io/v1/leases'),
  TokenReview: of('authentication.k8s.io/v1/tokenreviews'),
  Namespace: of('/v1/namespaces'),
  MutatingWebhookConfiguration: of('admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'),
  ValidatingWebhookConfiguration: of('admissionregistration.k8s.io/v1/validatingwebhookconfigurations'),
} as const;

export const resourceOf = (kind: KeptKind): Resource => ({
  group,
  version,
  plural: clusterKinds[kind].plural,
});

export function pathOf(
  { group, version, plural }: Resource,
  { namespace, name, subresource }: Place,
): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  const parts = [
    ...(namespace === undefined ? [] : ['namespaces', namespace]),
    plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  return `${root}/${parts.map(encodeURIComponent).join('/')}`;
}

/** As RBAC calls it, e.g. `sandboxes.offshoot.dev/status`. */
export const resourceName = ({ group, plural }: Resource, { subresource }: Place): string =>
  `${plural}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;

export const describe = (resource: Resource, place: Place): string =>
  [
    resourceName(resource, place),
    ...(place.name === undefined ? [] : [`"${place.name}"`]),
    place.namespace === undefined ? 'of all namespaces' : `in namespace "${place.namespace}"`,
  ].join(' ');

/**
 * Resource versions count the cluster's writes (KEP-5504: decimal numbers that may be compared).
 * @returns negative when `a` is older; an absent one is the oldest
 */
export function compareVersions(a = '', b = ''): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
