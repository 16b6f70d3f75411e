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
    readonly path?: string;
    readonly port: number | string;
    readonly scheme?: string;
    readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
  };
  readonly tcpSocket?: { readonly port: number | string };
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
  readonly resources?: {
    readonly limits?: Readonly<Record<string, Quantity>>;
    readonly requests?: Readonly<Record<string, Quantity>>;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
};

export type PodTemplate = {
  readonly metadata?: Partial<Meta>;
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers?: readonly Container[];
    readonly [field: string]: unknown;
  };
};

export type Deployment = {
  readonly apiVersion: string;
  readonly kind: 'Deployment';
  readonly metadata: Meta;
  readonly spec: {
    readonly replicas?: number;
    readonly selector: {
      readonly matchLabels?: Readonly<Record<string, string>>;
      readonly [field: string]: unknown;
    };
    readonly template: PodTemplate;
    readonly [field: string]: unknown;
  };
};

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

export type ConfigMap = {
  readonly apiVersion: string;
  readonly kind: 'ConfigMap';
  readonly metadata: Meta;
  readonly data?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

/** After parsing, `data` holds the decoded text (base64 `data` and plain `stringData` are merged). */
export type Secret = {
  readonly apiVersion: string;
  readonly kind: 'Secret';
  readonly metadata: Meta;
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
};

export type Namespace = { readonly apiVersion: string; readonly kind: 'Namespace'; readonly metadata: Meta };

export type Manifest = Deployment | Service | ConfigMap | Secret | Namespace;
export type ManifestKind = Manifest['kind'];
