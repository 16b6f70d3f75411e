/**
 * Where the baseline comes from: what is deployed, how it stands, and what belongs to what. Today that are the
 * manifests in our store, on a cluster it will be what an informer knows. Whoever makes something of the baseline
 * (forks, environments, routes) reads only this, and keeps no copy: every question costs what it answers.
 *
 * Types only. A conformance suite says what every source does: test/conformance/baseline.ts.
 */
import type {
  ConfigMap,
  EndpointSlice,
  Endpoints,
  Secret,
  Service,
  Workload,
  WorkloadKind,
} from '../model/kubernetes.ts';
import type { ManifestStatus } from '../model/workload-status.ts';

type Objects = { readonly [K in WorkloadKind]: Workload<K> } & {
  readonly Service: Service;
  readonly Endpoints: Endpoints;
  readonly EndpointSlice: EndpointSlice;
  readonly ConfigMap: ConfigMap;
  readonly Secret: Secret;
  /** Of any kind. */
  readonly Workload: Workload;
};

/** Kinds that objects are of. */
export type ObjectKind = WorkloadKind | 'Service' | 'Endpoints' | 'EndpointSlice' | 'ConfigMap' | 'Secret';
/** Kinds that can be asked for. */
export type BaselineKind = keyof Objects;

/** An object as it is now; frozen, and the same one as long as nothing changes. */
export type Found<K extends BaselineKind = BaselineKind> = {
  readonly kind: Objects[K]['kind'];
  readonly namespace: string;
  readonly name: string;
  readonly object: Objects[K];
  /** Another value whenever something else is asked for, or the same once more. */
  readonly revision: string;
  /** It is to go. */
  readonly deleting: boolean;
  /** How it stands; null: nobody has looked at it yet. */
  readonly status: ManifestStatus | null;
};

/** @param before what was told of last; absent: it is new. @param now absent: it is gone */
export type BaselineChange = {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
  readonly before?: Found;
  readonly now?: Found;
};

/** Reads are synchronous. Unless it is said otherwise, they find what is to stay, in order of creation. */
export type Baseline = {
  get<K extends BaselineKind>(
    kind: K extends 'Workload' ? never : K,
    namespace: string,
    name: string,
  ): Found<K> | undefined;
  /** @param namespace default: all. @returns the same list as long as nothing in it changes */
  list<K extends BaselineKind>(kind: K, namespace?: string): readonly Found<K>[];
  /** The workloads whose pods a Service selects, also those that are to go: it sends to them as long as they are there. */
  workloadsBehind(service: Service): readonly Found<'Workload'>[];
  /** The Services that select a workload's pods. */
  servicesOf(workload: Workload): readonly Found<'Service'>[];
  /** The workloads of the namespace whose pods mention a ConfigMap or Secret, be it there or not. */
  usersOf(kind: 'ConfigMap' | 'Secret', namespace: string, name: string): readonly Found<'Workload'>[];
  /** Why nothing is known of a namespace, in a sentence; undefined, or absent: all is known. */
  whyUnknown?(namespace: string): string | undefined;
  /** Calls `listener` after each change, also of status, in their order. @returns the way to stop that */
  watch(listener: (change: BaselineChange) => void): () => void;
};
