/**
 * The shapes of the Kubernetes objects that we read. Fields that we do not know stay as they are: there are
 * many, and patches and other runtimes may understand them.
 */
import { z } from 'zod';
import { dnsName, label, port, text, textMap } from './fields.ts';
import { flag, podSpec, podTemplate, portOrName, wholeNumber } from './manifest-pod-schema.ts';

const metadata = (name: z.ZodString) =>
  z.looseObject({
    name,
    namespace: z.union([label, z.literal('')]).optional(),
    labels: textMap.optional(),
    annotations: textMap.optional(),
  });

/** RFC 1035: names of Services become variables and the first label of hosts, so a letter comes first. */
const serviceName = label.regex(/^[a-z]/, 'the name of a Service starts with a letter');

const dataKey = z.string().regex(/^[-._a-zA-Z0-9]+$/, 'a key has only letters, digits, "-", "_" and "."');

/** RFC 4648 section 4; line breaks in it are allowed, as for Kubernetes. */
const base64 = z.string().refine(value => {
  const joined = value.replace(/[\r\n]/g, '');
  return joined.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(joined);
}, 'must be base64; plain text belongs under stringData');

const selector = z.looseObject({
  matchLabels: textMap.optional(),
  matchExpressions: z
    .array(
      z.looseObject({
        key: text,
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string()).optional(),
      }),
    )
    .optional(),
});

const replicated = {
  replicas: wholeNumber.optional(),
  minReadySeconds: wholeNumber.optional(),
  template: podTemplate,
};

const deployment = z.looseObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('Deployment'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ ...replicated, selector }),
});

const retention = z.enum(['Retain', 'Delete']);

const statefulSet = z.looseObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('StatefulSet'),
  metadata: metadata(dnsName),
  spec: z.looseObject({
    ...replicated,
    selector,
    serviceName: z.string().optional(),
    volumeClaimTemplates: z.array(z.looseObject({ metadata: z.looseObject({ name: label }) })).optional(),
    ordinals: z.looseObject({ start: wholeNumber.optional() }).optional(),
    persistentVolumeClaimRetentionPolicy: z
      .looseObject({ whenDeleted: retention.optional(), whenScaled: retention.optional() })
      .optional(),
  }),
});

const daemonSet = z.looseObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('DaemonSet'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ template: podTemplate, selector }),
});

const replicaSet = z.looseObject({
  apiVersion: z.literal('apps/v1'),
  kind: z.literal('ReplicaSet'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ ...replicated, selector }),
});

const replicationController = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ReplicationController'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ ...replicated, selector: textMap.optional() }),
});

/** Argo's, which has the template of a Deployment. */
const rollout = z.looseObject({
  apiVersion: z.literal('argoproj.io/v1alpha1'),
  kind: z.literal('Rollout'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ ...replicated, selector: selector.optional() }),
});

const jobSpec = z.looseObject({
  template: podTemplate,
  completions: wholeNumber.optional(),
  parallelism: wholeNumber.optional(),
  backoffLimit: wholeNumber.optional(),
  activeDeadlineSeconds: wholeNumber.optional(),
  ttlSecondsAfterFinished: wholeNumber.optional(),
  suspend: flag.optional(),
  podFailurePolicy: z
    .looseObject({
      rules: z
        .array(
          z.looseObject({
            action: z.enum(['FailJob', 'FailIndex', 'Ignore', 'Count']),
            onExitCodes: z
              .looseObject({
                containerName: text.optional(),
                operator: z.enum(['In', 'NotIn']),
                values: z.array(z.int()),
              })
              .optional(),
          }),
        )
        .optional(),
    })
    .optional(),
});

const job = z.looseObject({
  apiVersion: z.literal('batch/v1'),
  kind: z.literal('Job'),
  metadata: metadata(dnsName),
  spec: jobSpec,
});

const cronJob = z.looseObject({
  apiVersion: z.literal('batch/v1'),
  kind: z.literal('CronJob'),
  // The names of its runs end with eleven more characters (API reference).
  metadata: metadata(dnsName.max(52, 'must have at most 52 characters')),
  spec: z.looseObject({
    schedule: text,
    timeZone: text.optional(),
    concurrencyPolicy: z.enum(['Allow', 'Forbid', 'Replace']).optional(),
    startingDeadlineSeconds: wholeNumber.optional(),
    successfulJobsHistoryLimit: wholeNumber.optional(),
    failedJobsHistoryLimit: wholeNumber.optional(),
    suspend: flag.optional(),
    jobTemplate: z.looseObject({ spec: jobSpec }),
  }),
});

const pod = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Pod'),
  metadata: metadata(dnsName),
  spec: podSpec,
});

const service = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Service'),
  metadata: metadata(serviceName),
  spec: z.looseObject({
    selector: textMap.optional(),
    ports: z
      .array(
        z.looseObject({
          name: text.optional(),
          port,
          targetPort: z.preprocess(value => value || undefined, portOrName.optional()),
          protocol: z.string().optional(),
          appProtocol: z.string().optional(),
        }),
      )
      .optional(),
  }),
});

const endpointPorts = z
  .array(z.looseObject({ name: z.string().optional(), port, protocol: z.string().optional() }))
  .optional();
const ip = z.union([z.ipv4(), z.ipv6()]);

const endpoints = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Endpoints'),
  metadata: metadata(dnsName),
  subsets: z
    .array(z.looseObject({ addresses: z.array(z.looseObject({ ip })).optional(), ports: endpointPorts }))
    .optional(),
});

const endpointSlice = z.looseObject({
  apiVersion: z.literal('discovery.k8s.io/v1'),
  kind: z.literal('EndpointSlice'),
  metadata: metadata(dnsName),
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: z.array(
    z.looseObject({
      addresses: z.array(text),
      conditions: z.looseObject({ ready: flag.optional() }).optional(),
    }),
  ),
  ports: endpointPorts,
});

const configMap = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('ConfigMap'),
  metadata: metadata(dnsName),
  data: z.record(dataKey, z.string()).optional(),
  binaryData: z.record(dataKey, base64).optional(),
});

const secret = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Secret'),
  metadata: metadata(dnsName),
  type: z.string().optional(),
  data: z.record(dataKey, base64).optional(),
  stringData: z.record(dataKey, z.string()).optional(),
});

const persistentVolumeClaim = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('PersistentVolumeClaim'),
  metadata: metadata(dnsName),
  spec: z.looseObject({ volumeMode: z.string().optional() }).optional(),
});

const namespace = z.looseObject({
  apiVersion: z.literal('v1'),
  kind: z.literal('Namespace'),
  metadata: metadata(label),
});

export const manifestSchemas = {
  ConfigMap: configMap,
  CronJob: cronJob,
  DaemonSet: daemonSet,
  Deployment: deployment,
  EndpointSlice: endpointSlice,
  Endpoints: endpoints,
  Job: job,
  Namespace: namespace,
  PersistentVolumeClaim: persistentVolumeClaim,
  Pod: pod,
  ReplicaSet: replicaSet,
  ReplicationController: replicationController,
  Rollout: rollout,
  Secret: secret,
  Service: service,
  StatefulSet: statefulSet,
} as const;

export type ServiceDocument = z.infer<typeof service>;
export type SecretDocument = z.infer<typeof secret>;
export type CronJobDocument = z.infer<typeof cronJob>;
export type SelectingDocument = z.infer<typeof deployment>;
export type StatefulSetDocument = z.infer<typeof statefulSet>;
export type TemplatedDocument = z.infer<typeof deployment | typeof daemonSet | typeof rollout>;
export type ManifestDocument = z.infer<(typeof manifestSchemas)[keyof typeof manifestSchemas]>;
