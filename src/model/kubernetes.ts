/**
 * The part of Kubernetes' objects that we read. Objects keep fields that we do not know (patches may
 * touch them, and another runtime may understand them), hence the open records.
 */
import type { Quantity } from './quantity.ts';

export type Meta = {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

export type EnvVar = {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly configMapKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean };
    readonly secretKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean };
    readonly fieldRef?: { readonly fieldPath: string };
    readonly resourceFieldRef?: {
      readonly containerName?: string;
      readonly resource: string;
      readonly divisor?: string | number;
    };
    readonly [field: string]: unknown;
  };
};

export type EnvFromSource = {
  readonly prefix?: string;
  readonly configMapRef?: { readonly name: string; readonly optional?: boolean };
  readonly secretRef?: { readonly name: string; readonly optional?: boolean };
};

export type Probe = {
  readonly httpGet?: {
    readonly host?: string;
    readonly path?: string;
    readonly port: number | string;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
  };
  readonly tcpSocket?: { readonly host?: string; readonly port: number | string };
  readonly exec?: { readonly command: readonly string[] };
  readonly grpc?: { readonly port: number; readonly service?: string };
  readonly initialDelaySeconds?: number;
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly successThreshold?: number;
  readonly failureThreshold?: number;
  readonly [field: string]: unknown;
};

export type Container = {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly ports?: readonly {
    readonly name?: string;
    readonly containerPort: number;
    readonly protocol?: string;
  }[];
  readonly env?: readonly EnvVar[];
  readonly envFrom?: readonly EnvFromSource[];
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly startupProbe?: Probe;
  readonly volumeMounts?: readonly VolumeMount[];
  /** Of an init container: `Always` makes it run beside the containers (a sidecar). */
  readonly restartPolicy?: string;
  readonly resources?: {
    readonly limits?: Readonly<Record<string, Quantity>>;
    readonly requests?: Readonly<Record<string, Quantity>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
};

export type VolumeMount = {
  readonly name: string;
  readonly mountPath: string;
  readonly subPath?: string;
  readonly subPathExpr?: string;
  readonly readOnly?: boolean;
  readonly [field: string]: unknown;
};

/** Which keys of a ConfigMap or Secret become which files; without `items` all do, under their own names. */
type KeyFiles = {
  readonly items?: readonly { readonly key: string; readonly path: string; readonly mode?: number }[];
  readonly optional?: boolean;
  readonly defaultMode?: number;
};

/** What the downward API makes files of. */
export type FieldFiles = {
  readonly items?: readonly {
    readonly path: string;
    readonly mode?: number;
    readonly fieldRef?: { readonly fieldPath: string };
    readonly resourceFieldRef?: {
      readonly containerName?: string;
      readonly resource: string;
      readonly divisor?: string | number;
    };
  }[];
  readonly defaultMode?: number;
};

export type VolumeSource = {
  readonly configMap?: KeyFiles & { readonly name: string };
  readonly secret?: KeyFiles & { readonly secretName: string };
  readonly downwardAPI?: FieldFiles;
  readonly projected?: {
    readonly sources?: readonly {
      readonly configMap?: KeyFiles & { readonly name: string };
      readonly secret?: KeyFiles & { readonly name: string };
      readonly downwardAPI?: FieldFiles;
      readonly [source: string]: unknown;
    }[];
    readonly defaultMode?: number;
  };
  readonly emptyDir?: {
    readonly medium?: string;
    readonly sizeLimit?: Quantity;
    readonly [field: string]: unknown;
  };
  readonly hostPath?: { readonly path: string; readonly type?: string };
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean };
  readonly [source: string]: unknown;
};

export type Volume = VolumeSource & { readonly name: string };

export type PodSpec = {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly terminationGracePeriodSeconds?: number;
  readonly restartPolicy?: string;
  readonly hostname?: string;
  readonly subdomain?: string;
  readonly hostAliases?: readonly { readonly ip: string; readonly hostnames?: readonly string[] }[];
  readonly [field: string]: unknown;
};

export type PodTemplate = { readonly metadata?: Partial<Meta>; readonly spec: PodSpec };

export type LabelSelector = {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
  readonly [field: string]: unknown;
};

/** Kinds that make pods of a template, and bare pods. `Rollout` is that of Argo, which has the same template. */
export type WorkloadKind =
  | 'Deployment'
  | 'StatefulSet'
  | 'DaemonSet'
  | 'ReplicaSet'
  | 'ReplicationController'
  | 'Rollout'
  | 'Job'
  | 'CronJob'
  | 'Pod';

/** Any of them, seen as what it comes to: pods of one template. A bare Pod is one replica of itself. */
export type Workload<K extends WorkloadKind = WorkloadKind> = {
  readonly apiVersion: string;
  readonly kind: K;
  readonly metadata: Meta;
  readonly spec: {
    readonly replicas?: number;
    readonly selector?: LabelSelector;
    readonly template: PodTemplate;
    /** StatefulSet: the Service that names its pods. */
    readonly serviceName?: string;
    /** StatefulSet: a volume of its own for each pod. */
    readonly volumeClaimTemplates?: readonly { readonly metadata: Meta; readonly [field: string]: unknown }[];
    /** StatefulSet: the number of its first pod, default 0. */
    readonly ordinals?: { readonly start?: number };
    /** StatefulSet: whether disks of its pods go with it, and with pods that are too many; default: they stay. */
    readonly persistentVolumeClaimRetentionPolicy?: {
      readonly whenDeleted?: 'Retain' | 'Delete';
      readonly whenScaled?: 'Retain' | 'Delete';
    };
    readonly strategy?: { readonly type?: string; readonly [field: string]: unknown };
    /** Deployment: a change waits. */
    readonly paused?: boolean;
    readonly minReadySeconds?: number;
    /** Job: how many pods have to end well, default 1; how many run at once. */
    readonly completions?: number;
    readonly parallelism?: number;
    readonly backoffLimit?: number;
    readonly activeDeadlineSeconds?: number;
    readonly ttlSecondsAfterFinished?: number;
    readonly suspend?: boolean;
    readonly podFailurePolicy?: {
      readonly rules?: readonly {
        readonly action?: string;
        readonly onExitCodes?: {
          readonly containerName?: string;
          readonly operator?: string;
          readonly values?: readonly number[];
        };
      }[];
    };
    readonly [field: string]: unknown;
  };
};

export type Deployment = Workload<'Deployment'>;

/** A pod's spec stands where others have a template. */
export type PodManifest = {
  readonly apiVersion: string;
  readonly kind: 'Pod';
  readonly metadata: Meta;
  readonly spec: PodSpec;
};

export type CronJobManifest = {
  readonly apiVersion: string;
  readonly kind: 'CronJob';
  readonly metadata: Meta;
  readonly spec: {
    readonly schedule: string;
    readonly timeZone?: string;
    readonly concurrencyPolicy?: 'Allow' | 'Forbid' | 'Replace';
    readonly startingDeadlineSeconds?: number;
    readonly successfulJobsHistoryLimit?: number;
    readonly failedJobsHistoryLimit?: number;
    readonly suspend?: boolean;
    readonly jobTemplate: { readonly spec: Workload<'Job'>['spec']; readonly [field: string]: unknown };
    readonly [field: string]: unknown;
  };
};

/** Kinds whose manifests are workloads as they stand. */
export type TemplatedKind = Exclude<WorkloadKind, 'Pod' | 'CronJob'>;

export type WorkloadManifest =
  | { readonly [K in TemplatedKind]: Workload<K> }[TemplatedKind]
  | PodManifest
  | CronJobManifest;

export type Service = {
  readonly apiVersion: string;
  readonly kind: 'Service';
  readonly metadata: Meta;
  readonly spec: {
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports?: readonly {
      readonly name?: string;
      readonly port: number;
      /** A containerPort's number or name; default: `port`. */
      readonly targetPort?: number | string;
      readonly protocol?: string;
      readonly appProtocol?: string;
    }[];
    readonly [field: string]: unknown;
  };
};

type EndpointPort = { readonly name?: string; readonly port: number; readonly protocol?: string };

/** Where a Service of the same name leads that selects nothing. */
export type Endpoints = {
  readonly apiVersion: string;
  readonly kind: 'Endpoints';
  readonly metadata: Meta;
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip: string }[];
    readonly ports?: readonly EndpointPort[];
  }[];
};

/** The same, for the Service that its label `kubernetes.io/service-name` names. */
export type EndpointSlice = {
  readonly apiVersion: string;
  readonly kind: 'EndpointSlice';
  readonly metadata: Meta;
  readonly addressType: string;
  readonly endpoints: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean };
  }[];
  readonly ports?: readonly EndpointPort[];
};

export type ConfigMap = {
  readonly apiVersion: string;
  readonly kind: 'ConfigMap';
  readonly metadata: Meta;
  readonly data?: Readonly<Record<string, string>>;
  /** Base64. */
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

/**
 * After parsing, `data` holds the decoded text (base64 `data` and plain `stringData` are merged), and `binaryData` what
 * is no text, in base64.
 */
export type Secret = {
  readonly apiVersion: string;
  readonly kind: 'Secret';
  readonly metadata: Meta;
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

/** What it asks for has no effect: a volume that names a claim has a disk anyway. */
export type PersistentVolumeClaim = {
  readonly apiVersion: string;
  readonly kind: 'PersistentVolumeClaim';
  readonly metadata: Meta;
  readonly spec?: { readonly [field: string]: unknown };
};

export type Namespace = { readonly apiVersion: string; readonly kind: 'Namespace'; readonly metadata: Meta };

export type Manifest =
  | WorkloadManifest
  | Service
  | Endpoints
  | EndpointSlice
  | ConfigMap
  | Secret
  | PersistentVolumeClaim
  | Namespace;
export type ManifestKind = Manifest['kind'];
