/** Status of baseline manifests. */
import type { Address, Found } from './route.ts';
import type { PodAddress } from './service.ts';

/** containerPort → where it answers. */
export type PortMap = Readonly<Record<number, readonly Address[]>>;

export type ManifestStatus = {
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  /** Workloads: with which inputs it was seen like this; see `rules/inputs.ts`. */
  readonly inputs?: string;
  /** Workloads: somebody answers at `ports`, be it an older version that a newer one is about to replace. */
  readonly serving?: boolean;
  /** Workloads: where its containers answer. */
  readonly ports?: PortMap;
  readonly restarts?: number;
  /** Last lines of the log while not ready. */
  readonly log?: readonly string[];
  /** Workloads: pods with a network of their own that are ready, or will be. */
  readonly ips?: readonly string[];
  /** Workloads: all pods that stay and have networks of their own, ready or not. */
  readonly pods?: readonly PodAddress[];
  /** Services: where the router answers for it; service port → address. */
  readonly addresses?: Readonly<Record<number, Address>>;
  /** Services that are another name (`externalName`) for something outside: its IP. */
  readonly external?: string;
  /** Services: what was found at ports of which the manifest does not say what they speak; by service port. */
  readonly found?: Readonly<Record<number, Found>>;
};
