/** Endpoints of a sandbox: from its three spellings to one list, each with URL and destination. Pure. */
import type { WorkloadKind } from './kubernetes.ts';
import { previewLabel } from './names.ts';
import type { DestinationKey } from './route.ts';
import type { EndpointProtocol, SandboxSpec, WorkloadKey } from './sandbox.ts';
import { parseServiceHost, workloadHost } from './service.ts';
import { workloadPath } from './workload.ts';

/** A Service, or the forked workload itself. */
export type EndpointTarget = {
  readonly kind: 'Service' | WorkloadKind;
  readonly namespace: string;
  readonly name: string;
};

export type PreviewSite = {
  /** `localhost` makes `<label>.preview.localhost`. */
  readonly domain: string;
  readonly scheme: 'http' | 'https';
  /** Port in URLs. */
  readonly port: number;
};

export type Endpoint = {
  readonly name: string;
  /** Where in the document it stands. */
  readonly path: string;
  readonly target: string;
  readonly routeType: 'host' | 'fork';
  readonly protocol: EndpointProtocol;
  readonly destination: DestinationKey;
  readonly to: EndpointTarget;
  readonly port: number;
};

export const serviceDestination = (namespace: string, name: string, port: number): DestinationKey =>
  `svc:${namespace}/${name}:${port}`;

export const workloadDestination = (key: WorkloadKey, port: number): DestinationKey =>
  `deploy:${workloadPath(key)}:${port}`;

/** All endpoints of a checked sandbox. Hosts that are not of the cluster were refused when the document was read. */
export function endpointsOf(spec: SandboxSpec): readonly Endpoint[] {
  const wanted: {
    name: string;
    path: string;
    target: string;
    host: string;
    port: number;
    protocol: EndpointProtocol;
  }[] = [];
  (spec.defaultRouteGroup?.endpoints ?? []).forEach(({ name, target }, i) => {
    const url = new URL(target);
    const protocol = url.protocol.slice(0, -1) as EndpointProtocol;
    const port = Number(url.port) || (protocol === 'https' ? 443 : 80);
    wanted.push({
      name,
      path: `spec.defaultRouteGroup.endpoints[${i}].target`,
      target,
      host: url.hostname,
      port,
      protocol,
    });
  });
  (spec.endpoints ?? []).forEach(({ name, host, port, protocol = 'http' }, i) => {
    wanted.push({
      name,
      path: `spec.endpoints[${i}].host`,
      target: `${protocol}://${host}:${port}`,
      host,
      port,
      protocol,
    });
  });
  const hosts: Endpoint[] = wanted.flatMap(w => {
    const to = parseServiceHost(w.host);
    if (to === undefined) return [];
    const { name, path, target, protocol, port } = w;
    const destination = destinationOf(to, port);
    return [{ name, path, target, protocol, port, routeType: 'host', to, destination }];
  });
  const forks: Endpoint[] = (spec.forks ?? []).flatMap((fork, i) =>
    (fork.endpoints ?? []).map(({ name, port, protocol = 'http' }, j): Endpoint => {
      const to = fork.forkOf;
      const target = `${protocol}://${workloadHost(to)}:${port}`;
      const path = `spec.forks[${i}].endpoints[${j}]`;
      const destination = destinationOf(to, port);
      return { name, path, target, protocol, port, routeType: 'fork', to, destination };
    }),
  );
  return [...hosts, ...forks];
}

export function previewUrl(site: PreviewSite, endpoint: string, sandbox: string): string {
  const standard = site.scheme === 'http' ? 80 : 443;
  const port = site.port === standard ? '' : `:${site.port}`;
  return `${site.scheme}://${previewLabel(endpoint, sandbox)}.preview.${site.domain}${port}`;
}

// --- internal -----------------------------------------------------------------------------------

function destinationOf({ kind, namespace, name }: EndpointTarget, port: number): DestinationKey {
  if (kind === 'Service') return serviceDestination(namespace, name, port);
  return workloadDestination({ kind, namespace, name }, port);
}
