/** What Kubernetes fills in where a manifest says nothing, as far as we read it. */
import type { Container, Deployment, Manifest, Probe, Secret, Service } from '../kubernetes.ts';
import { decodeSecret } from './manifest-rules.ts';

/** `manifest` with namespace and defaults; a Secret, until now as it stands in the file, gets its text. */
export function completeManifest(manifest: Manifest): Manifest {
  if (manifest.kind === 'Namespace') return manifest;
  const metadata = { ...manifest.metadata, namespace: manifest.metadata.namespace || 'default' };
  switch (manifest.kind) {
    case 'Deployment':
      return { ...manifest, metadata, spec: deploymentSpec(manifest.spec) };
    case 'Service':
      return { ...manifest, metadata, spec: serviceSpec(manifest.spec) };
    case 'Secret':
      return { ...secretText(manifest), metadata };
    case 'ConfigMap':
      return { ...manifest, metadata };
  }
}

// --- internal -----------------------------------------------------------------------------------

function deploymentSpec(spec: Deployment['spec']): Deployment['spec'] {
  const pod = spec.template.spec;
  const containers = pod.containers.map(withProbeDefaults);
  return { replicas: 1, ...spec, template: { ...spec.template, spec: { ...pod, containers } } };
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

function serviceSpec(spec: Service['spec']): Service['spec'] {
  if (spec.ports === undefined) return spec;
  return { ...spec, ports: spec.ports.map(port => ({ targetPort: port.port, ...port })) };
}

/** `stringData` wins over `data`, and is gone afterwards, as in Kubernetes. */
function secretText({ stringData, data = {}, ...rest }: Secret): Secret {
  const plain = (stringData ?? {}) as Readonly<Record<string, string>>;
  const text: Record<string, string> = {};
  const binary: Record<string, string> = {};
  for (const [key, value] of Object.entries(data)) {
    if (Object.hasOwn(plain, key)) continue;
    const decoded = decodeSecret(value);
    if (decoded === undefined) binary[key] = value;
    else text[key] = decoded;
  }
  const binaryData = Object.keys(binary).length === 0 ? {} : { binaryData: binary };
  return { ...rest, data: { ...text, ...plain }, ...binaryData };
}
