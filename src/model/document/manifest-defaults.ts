/** What Kubernetes fills in where a manifest says nothing, as far as we read it. */
import type { Container, Manifest, PodSpec, Probe, Secret, Service, Workload } from '../kubernetes.ts';
import { decodeSecret } from './manifest-rules.ts';

/** `manifest` with namespace and defaults; a Secret, until now as it stands in the file, gets its text. */
export function completeManifest(manifest: Manifest): Manifest {
  if (manifest.kind === 'Namespace') return manifest;
  const metadata = { ...manifest.metadata, namespace: manifest.metadata.namespace || 'default' };
  switch (manifest.kind) {
    case 'Pod':
      return { ...manifest, metadata, spec: podSpec(manifest.spec) };
    case 'CronJob': {
      const { jobTemplate } = manifest.spec;
      const template = { ...jobTemplate, spec: jobSpec(jobTemplate.spec) };
      return { ...manifest, metadata, spec: { ...manifest.spec, jobTemplate: template } };
    }
    case 'Job':
      return { ...manifest, metadata, spec: jobSpec(manifest.spec) };
    case 'DaemonSet':
      return { ...manifest, metadata, spec: withPod(manifest.spec) };
    case 'Deployment':
    case 'StatefulSet':
    case 'ReplicaSet':
    case 'ReplicationController':
    case 'Rollout':
      return { ...manifest, metadata, spec: { replicas: 1, ...withPod(manifest.spec) } };
    case 'Service':
      return { ...manifest, metadata, spec: serviceSpec(manifest.spec) };
    case 'Secret':
      return { ...secretText(manifest), metadata };
    case 'ConfigMap':
    case 'Endpoints':
    case 'EndpointSlice':
    case 'PersistentVolumeClaim':
      return { ...manifest, metadata };
  }
}

// --- internal -----------------------------------------------------------------------------------

type TemplatedSpec = Workload['spec'];

const withPod = (spec: TemplatedSpec): TemplatedSpec => ({
  ...spec,
  template: { ...spec.template, spec: podSpec(spec.template.spec) },
});

/** API reference, JobSpec. */
const jobSpec = (spec: TemplatedSpec): TemplatedSpec => ({
  ...{ backoffLimit: 6, parallelism: 1, ...(spec.parallelism === undefined && { completions: 1 }) },
  ...withPod(spec),
});

function podSpec(pod: PodSpec): PodSpec {
  const containers = pod.containers.map(withProbeDefaults);
  const initContainers = pod.initContainers?.map(withProbeDefaults);
  return { ...pod, containers, ...(initContainers && { initContainers }) };
}

function withProbeDefaults(container: Container): Container {
  const { readinessProbe, livenessProbe, startupProbe } = container;
  return {
    ...container,
    ...(readinessProbe && { readinessProbe: withDefaults(readinessProbe) }),
    ...(livenessProbe && { livenessProbe: withDefaults(livenessProbe) }),
    ...(startupProbe && { startupProbe: withDefaults(startupProbe) }),
  };
}

/** Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes". */
const withDefaults = (probe: Probe): Probe => ({
  initialDelaySeconds: 0,
  periodSeconds: 10,
  timeoutSeconds: 1,
  successThreshold: 1,
  failureThreshold: 3,
  ...probe,
});

/** A targetPort of 0 or '', as charts print one that nobody has set, is none (Kubernetes' `SetDefaults_Service`). */
function serviceSpec(spec: Service['spec']): Service['spec'] {
  if (spec.ports === undefined) return spec;
  return { ...spec, ports: spec.ports.map(port => ({ ...port, targetPort: port.targetPort || port.port })) };
}

/**
 * `stringData` wins over `data`, and is gone afterwards, as in Kubernetes. A value whose bytes are no text is kept beside
 * as it is, for files; variables, which hold no others, have what is text of it, the same one wherever it is asked for.
 */
function secretText({ stringData, data = {}, ...rest }: Secret): Secret {
  const plain = (stringData ?? {}) as Readonly<Record<string, string>>;
  const text: Record<string, string> = {};
  const binary: Record<string, string> = {};
  for (const [key, value] of Object.entries(data)) {
    if (Object.hasOwn(plain, key)) continue;
    const decoded = decodeSecret(value);
    if (decoded === undefined) binary[key] = value;
    text[key] = decoded ?? Buffer.from(value, 'base64').toString().replaceAll('\0', '\uFFFD');
  }
  const binaryData = Object.keys(binary).length === 0 ? {} : { binaryData: binary };
  return { ...rest, data: { ...text, ...plain }, ...binaryData };
}
