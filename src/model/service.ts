/** What a Kubernetes Service means: whom it selects, its names, and the variables that announce it. */
import type { Service, Workload, WorkloadKind } from './kubernetes.ts';
import type { WorkloadKey } from './sandbox.ts';

/** Where a Service answers. `ports` in the order of the Service; the first may be the only one without a name. */
export type ServiceAddress = {
  readonly name: string;
  readonly host: string;
  readonly ports: readonly {
    readonly name?: string;
    readonly port: number;
    /** Default TCP. */
    readonly protocol?: string;
  }[];
};

/** A pod with a network of its own. */
export type PodAddress = { readonly name: string; readonly ip: string };

type ServicePort = NonNullable<Service['spec']['ports']>[number];

/** Whether the Service sends to pods with these labels. A Service without selector selects none. */
export function selects(service: Service, podLabels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(service.spec.selector ?? {});
  return wanted.length > 0 && wanted.every(([label, value]) => podLabels[label] === value);
}

/** The container port behind a Service's port; undefined when `targetPort` is a name that no container gives to a port. */
export function containerPortOf(servicePort: ServicePort, workload: Workload): number | undefined {
  const { port, targetPort = port, protocol = 'TCP' } = servicePort;
  if (typeof targetPort === 'number') return targetPort;
  return workload.spec.template.spec.containers
    .flatMap(container => container.ports ?? [])
    .find(p => p.name === targetPort && (p.protocol ?? 'TCP') === protocol)?.containerPort;
}

/** Of a Service that is another name for something: for what. */
export function externalNameOf({ spec }: Service): string | undefined {
  const { type, externalName } = spec;
  return type === 'ExternalName' && typeof externalName === 'string'
    ? externalName.replace(/\.$/, '')
    : undefined;
}

/** Its name means its pods, not an address of its own. */
export const isHeadless = ({ spec }: Service): boolean => spec.clusterIP === 'None';

/**
 * Names that the pods of a workload have below a headless Service: those of a StatefulSet by their numbers, others where
 * the template gives them `hostname` and `subdomain` (Kubernetes, "DNS for Services and Pods").
 * @param pods those with addresses of their own; absent: they have none
 * @returns without `ip` where there is none
 */
export function podHostsOf(
  service: string,
  { kind, metadata, spec }: Workload,
  pods: readonly PodAddress[] | undefined,
): readonly { readonly host: string; readonly ip?: string }[] {
  const { subdomain, hostname } = spec.template.spec;
  if ((kind === 'StatefulSet' ? spec.serviceName : subdomain) !== service) return [];
  const all: readonly { readonly name: string; readonly ip?: string }[] =
    pods ??
    (kind === 'StatefulSet'
      ? Array.from({ length: spec.replicas ?? 1 }, (_, index) => ({ name: `${metadata.name}-${index}` }))
      : [{ name: metadata.name }]);
  return all.map(({ name, ip }) => ({
    host: kind !== 'StatefulSet' && typeof hostname === 'string' ? hostname : name,
    ...(ip !== undefined && { ip }),
  }));
}

export type ServiceHost = {
  readonly kind: 'Service' | WorkloadKind;
  readonly namespace: string;
  readonly name: string;
};

/**
 * Reads the host of an endpoint: `<service>.<namespace>.svc` with or without `.cluster.local`, or a workload:
 * `<name>.<namespace>.deploy`, `.rollout` and so on. @returns undefined for any other host.
 */
export function parseServiceHost(host: string): ServiceHost | undefined {
  const match = hostPattern.exec(host.toLowerCase());
  if (match === null) return undefined;
  const [, name = '', namespace = '', suffix = ''] = match;
  return { kind: hostKinds[suffix]!, namespace, name };
}

/** The host that means a workload itself, not a Service. */
export const workloadHost = ({ kind, namespace, name }: WorkloadKey): string =>
  `${name}.${namespace}.${kind === 'Deployment' ? 'deploy' : kind.toLowerCase()}`;

/**
 * The variables that announce the Services of a namespace to its containers: Kubernetes' own, then those
 * of Docker links (Kubernetes documentation, "Service", "Environment variables"). A Service without ports has none.
 */
export function serviceEnv(services: readonly ServiceAddress[]): Record<string, string> {
  return Object.assign(
    {},
    ...services.filter(s => s.ports.length > 0).flatMap(s => [ownVariables(s), linkVariables(s)]),
  );
}

// --- internal -----------------------------------------------------------------------------------

/** The first two workloads are Signadot's. */
const hostKinds: Readonly<Record<string, ServiceHost['kind']>> = {
  svc: 'Service',
  'svc.cluster.local': 'Service',
  deploy: 'Deployment',
  rollout: 'Rollout',
  statefulset: 'StatefulSet',
  daemonset: 'DaemonSet',
  replicaset: 'ReplicaSet',
  replicationcontroller: 'ReplicationController',
  pod: 'Pod',
};

/** A workload's name may hold dots, a namespace's may not. A dot at the end marks a name as complete. */
const hostPattern = new RegExp(
  `^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)\\.([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\\.(${Object.keys(hostKinds).join('|')})\\.?$`,
);

const mangled = (name: string): string => name.toUpperCase().replaceAll('-', '_');

function ownVariables({ name, host, ports }: ServiceAddress): Record<string, string> {
  const prefix = `${mangled(name)}_SERVICE`;
  const named = ports.flatMap(p => (p.name ? [[`${prefix}_PORT_${mangled(p.name)}`, String(p.port)]] : []));
  return {
    [`${prefix}_HOST`]: host,
    [`${prefix}_PORT`]: String(ports[0]!.port),
    ...Object.fromEntries(named),
  };
}

function linkVariables({ name, host, ports }: ServiceAddress): Record<string, string> {
  const prefix = `${mangled(name)}_PORT`;
  const urlHost = host.includes(':') ? `[${host}]` : host;
  const links = ports.map(({ port, protocol = 'TCP' }) => ({
    port,
    variable: `${prefix}_${port}_${protocol.toUpperCase()}`,
    protocol: protocol.toLowerCase(),
    url: `${protocol.toLowerCase()}://${urlHost}:${port}`,
  }));
  return {
    [prefix]: links[0]!.url,
    ...Object.fromEntries(
      links.flatMap(({ port, variable, protocol, url }) => [
        [variable, url],
        [`${variable}_PROTO`, protocol],
        [`${variable}_PORT`, String(port)],
        [`${variable}_ADDR`, host],
      ]),
    ),
  };
}
