/**
 * The Sandbox document, as Signadot defines it (`{name, spec}`), and the status that we report.
 * Types only; reading and checking a document is model/document/.
 */
import type { Condition } from './conditions.ts';
import type { WorkloadKind } from './kubernetes.ts';
import type { PortMap } from './workload-status.ts';

export type Labels = Readonly<Record<string, string>>;

/** Names a workload of the baseline. */
export type WorkloadKey = {
  readonly kind: WorkloadKind;
  readonly namespace: string;
  readonly name: string;
};

export type ValueFrom =
  | { readonly resource: { readonly name: string; readonly outputKey: string } }
  | { readonly fork: { readonly forkOf: WorkloadKey; readonly expression: string } }
  | { readonly configMap: { readonly name: string; readonly key: string; readonly optional?: boolean } }
  | { readonly secret: { readonly name: string; readonly key: string; readonly optional?: boolean } };

export type EnvOperation = {
  readonly name: string;
  readonly container?: string;
  /** Default upsert. */
  readonly operation?: 'upsert' | 'delete';
  readonly value?: string;
  readonly valueFrom?: ValueFrom;
};

export type Patch = {
  readonly type: 'strategic' | 'merge' | 'json';
  /** YAML or JSON text, applied to the workload object. */
  readonly value: string;
};

export type Customizations = {
  readonly images?: readonly { readonly container?: string; readonly image: string }[];
  readonly env?: readonly EnvOperation[];
  readonly patch?: Patch;
};

/** What a fork has of what is not its own; it never writes to a disk of the baseline. Not of Signadot's. */
export type ForkVolumes = {
  /** Its own disks begin as a copy of the baseline's (default), or empty. */
  readonly disks?: 'copy' | 'empty';
  /** Paths of the machine can only be read (default), or also written to. */
  readonly hostPath?: 'read' | 'write';
};

export type EndpointProtocol = 'http' | 'https' | 'grpc';

export type Fork = {
  readonly name?: string;
  readonly forkOf: WorkloadKey;
  readonly customizations?: Customizations;
  readonly volumes?: ForkVolumes;
  /** Deprecated by Signadot, still accepted. */
  readonly endpoints?: readonly {
    readonly name: string;
    readonly port: number;
    readonly protocol?: EndpointProtocol;
  }[];
};

export type SandboxResource = {
  readonly name: string;
  /** `name` or `name@version`. */
  readonly plugin: string;
  readonly params?: Readonly<Record<string, string>>;
};

/** `duration` is a whole number and one of m h d w. */
export type Ttl = { readonly duration: string; readonly offsetFrom?: 'createdAt' | 'updatedAt' };

export type SandboxSpec = {
  readonly cluster: string;
  readonly description?: string;
  readonly labels?: Labels;
  readonly ttl?: Ttl;
  readonly resources?: readonly SandboxResource[];
  readonly forks?: readonly Fork[];
  readonly defaultRouteGroup?: {
    readonly endpoints?: readonly { readonly name: string; readonly target: string }[];
  };
  /** Deprecated by Signadot, still accepted: a host of the cluster and a port. */
  readonly endpoints?: readonly {
    readonly name: string;
    readonly host: string;
    readonly port: number;
    readonly protocol?: EndpointProtocol;
  }[];
};

export type Sandbox = { readonly name: string; readonly spec: SandboxSpec };

// --- what we report -------------------------------------------------------------------------------

export type StepState = 'pending' | 'running' | 'succeeded' | 'failed';

/** What leads there, a variable's name for example, and the project whose root it is. */
export type RootUse = { readonly what: string; readonly project: string };

export type SandboxStatus = {
  readonly ready: boolean;
  /** CamelCase, e.g. AllDesiredWorkloadsReady, ResourceFailed. */
  readonly reason: string;
  readonly message: string;
  /** Not ready, and will not become so by itself: the document or the world around it has to change. */
  readonly failed: boolean;
  readonly observedGeneration: number;
  readonly conditions: readonly Condition[];
  readonly scheduledDeleteTime?: string;
  readonly forks: readonly {
    readonly name: string;
    readonly forkOf: WorkloadKey;
    readonly ready: boolean;
    /** Somebody answers at `ports`, be it an older version that a newer one is about to replace. */
    readonly serving?: boolean;
    readonly reason: string;
    readonly message: string;
    readonly restarts: number;
    readonly ports: PortMap;
    /** What of the baseline it was made from when this was seen; see rules/inputs.ts. */
    readonly inputs?: string;
    /** What of it leads to the root of a project, as it does in the baseline; absent: nothing. */
    readonly sharesData?: readonly RootUse[];
    /** Its own disks, by claim: what they began as. */
    readonly disks?: Readonly<Record<string, 'copy' | 'empty'>>;
    /** Last lines of the log while the fork is not ready. */
    readonly log?: readonly string[];
  }[];
  /** Last lines of a migration that has failed, and of which branch. */
  readonly migration?: { readonly branch: string; readonly log: readonly string[] };
  readonly endpoints: readonly {
    readonly name: string;
    readonly url: string;
    readonly target: string;
    readonly routeType: 'host' | 'fork';
    readonly protocol: EndpointProtocol;
  }[];
};

/** How a resource stands, as its journal says; see model/resource-status.ts. */
export type ResourceStatus = {
  readonly name: string;
  readonly plugin: string;
  readonly ready: boolean;
  readonly failed: boolean;
  readonly message?: string;
  /** What to do about a failure. */
  readonly hint?: string;
  /** Which of the plugin's workflows `steps` is about. */
  readonly workflow: 'create' | 'delete';
  readonly steps: readonly { readonly name: string; readonly state: StepState; readonly ms?: number }[];
  /** Last lines of a failed step's output. */
  readonly output?: readonly string[];
};
