/** The shape of a pod: what the templates of all kinds of workloads have in common. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { type Quantity, readQuantity } from '../quantity.ts';
import { dnsName, envName, label, port, text, textMap } from './fields.ts';

export const wholeNumber = z.int().min(0, 'must not be negative');

/** As Kubernetes' reader takes a boolean (YAML 1.1, "Boolean"); where a text belongs, `yes` stays one. */
export const flag = z.preprocess(
  value => (typeof value === 'string' ? (spoken.get(value.toLowerCase()) ?? value) : value),
  z.boolean(),
);
const spoken = new Map([
  ...['yes', 'on'].map(word => [word, true] as const),
  ...['no', 'off'].map(word => [word, false] as const),
]);

const keyRef = z.looseObject({ name: text, key: text, optional: flag.optional() });

const fieldRef = z.looseObject({ fieldPath: text });
const resourceFieldRef = z.looseObject({
  containerName: text.optional(),
  resource: text,
  divisor: z.union([z.string(), z.number()]).optional(),
});

const env = z
  .looseObject({
    name: envName,
    value: z.string().optional(),
    valueFrom: z
      .looseObject({
        configMapKeyRef: keyRef.optional(),
        secretKeyRef: keyRef.optional(),
        fieldRef: fieldRef.optional(),
        resourceFieldRef: resourceFieldRef.optional(),
      })
      .refine(value => Object.keys(value).length === 1, 'needs exactly one source')
      .optional(),
  })
  .refine(
    entry => (entry.value ?? '') === '' || entry.valueFrom === undefined,
    'an environment variable cannot have both value and valueFrom',
  );

const mapRef = z.looseObject({ name: text, optional: flag.optional() });

const envFrom = z
  .looseObject({
    prefix: z.string().optional(),
    configMapRef: mapRef.optional(),
    secretRef: mapRef.optional(),
  })
  .refine(
    source => (source.configMapRef === undefined) !== (source.secretRef === undefined),
    'needs exactly one of configMapRef, secretRef',
  );

/** A number, or the name of a container's port. */
export const portOrName = z.custom<number | string>(
  value =>
    typeof value === 'string' ? /^[a-z0-9-]*[a-z][a-z0-9-]*$/.test(value) : port.safeParse(value).success,
  { error: issue => (issue.input === undefined ? undefined : PORT_OR_NAME) },
);
const PORT_OR_NAME = 'must be a whole number from 1 to 65535 or the name of a port';

const HANDLERS = ['httpGet', 'tcpSocket', 'exec', 'grpc'] as const;

const probe = z
  .looseObject({
    httpGet: z
      .looseObject({
        host: z.string().optional(),
        path: z.string().optional(),
        port: portOrName,
        scheme: z.enum(['HTTP', 'HTTPS']).optional(),
        httpHeaders: z.array(z.looseObject({ name: text, value: z.string() })).optional(),
      })
      .optional(),
    tcpSocket: z.looseObject({ host: z.string().optional(), port: portOrName }).optional(),
    grpc: z.looseObject({ port, service: z.string().optional() }).optional(),
    exec: z.looseObject({ command: z.array(z.string()).min(1, 'must not be empty') }).optional(),
    initialDelaySeconds: wholeNumber.optional(),
    periodSeconds: wholeNumber.optional(),
    timeoutSeconds: wholeNumber.optional(),
    successThreshold: wholeNumber.optional(),
    failureThreshold: wholeNumber.optional(),
  })
  .refine(
    value => HANDLERS.filter(handler => value[handler] !== undefined).length === 1,
    `a probe needs exactly one of ${HANDLERS.join(', ')}`,
  );

const quantity = z.custom<Quantity>(
  value => (typeof value === 'string' || typeof value === 'number') && readQuantity(value) !== undefined,
  'must be a quantity such as 500m or 256Mi',
);

const volumeMount = z.looseObject({
  name: text,
  mountPath: text,
  subPath: z.string().optional(),
  subPathExpr: z.string().optional(),
  readOnly: flag.optional(),
});

const container = z.looseObject({
  name: label,
  image: text,
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  ports: z
    .array(z.looseObject({ name: text.optional(), containerPort: port, protocol: z.string().optional() }))
    .optional(),
  env: z.array(env).optional(),
  envFrom: z.array(envFrom).optional(),
  readinessProbe: probe.optional(),
  livenessProbe: probe.optional(),
  startupProbe: probe.optional(),
  volumeMounts: z.array(volumeMount).optional(),
  restartPolicy: z.string().optional(),
  resources: z
    .looseObject({
      limits: z.record(z.string(), quantity).optional(),
      requests: z.record(z.string(), quantity).optional(),
    })
    .optional(),
});

const mode = z.int().min(0).max(0o777, 'must be at most 0777');

/** Of a file in a volume; it stays inside (API reference, KeyToPath). */
const filePath = text.refine(
  value => !value.startsWith('/') && !value.split('/').includes('..'),
  'must be a relative path without ".."',
);

const keyFiles = {
  items: z.array(z.looseObject({ key: text, path: filePath, mode: mode.optional() })).optional(),
  optional: flag.optional(),
  defaultMode: mode.optional(),
};

const downwardAPI = z.looseObject({
  items: z
    .array(
      z.looseObject({
        path: filePath,
        mode: mode.optional(),
        fieldRef: fieldRef.optional(),
        resourceFieldRef: resourceFieldRef.optional(),
      }),
    )
    .optional(),
  defaultMode: mode.optional(),
});

/** Other sources stay as they are: what runs the pod says what it makes of them. */
const volume = z.looseObject({
  name: label,
  configMap: z.looseObject({ name: text, ...keyFiles }).optional(),
  secret: z.looseObject({ secretName: text, ...keyFiles }).optional(),
  downwardAPI: downwardAPI.optional(),
  projected: z
    .looseObject({
      sources: z
        .array(
          z.looseObject({
            configMap: z.looseObject({ name: text, ...keyFiles }).optional(),
            secret: z.looseObject({ name: text, ...keyFiles }).optional(),
            downwardAPI: downwardAPI.optional(),
          }),
        )
        .optional(),
      defaultMode: mode.optional(),
    })
    .optional(),
  emptyDir: z.looseObject({ medium: z.string().optional(), sizeLimit: quantity.optional() }).optional(),
  hostPath: z
    .looseObject({ path: text.refine(isAbsolute, 'must be absolute'), type: z.string().optional() })
    .optional(),
  persistentVolumeClaim: z.looseObject({ claimName: dnsName, readOnly: flag.optional() }).optional(),
});

const containers = z.array(container).max(100, 'must have at most 100 items');

export const podSpec = z.looseObject({
  containers: containers.min(1, 'must not be empty'),
  initContainers: containers.optional(),
  volumes: z.array(volume).optional(),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
  terminationGracePeriodSeconds: wholeNumber.optional(),
  hostname: label.optional(),
  subdomain: label.optional(),
  hostAliases: z
    .array(z.looseObject({ ip: z.union([z.ipv4(), z.ipv6()]), hostnames: z.array(dnsName).optional() }))
    .optional(),
});

export const podTemplate = z.looseObject({
  metadata: z.looseObject({ labels: textMap.optional(), annotations: textMap.optional() }).optional(),
  spec: podSpec,
});

export type PodDocument = z.infer<typeof podSpec>;
