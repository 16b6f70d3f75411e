/** Endpoints of a sandbox: from its three spellings to one list, each with URL and destination. Pure. */
import { previewLabel } from './names.ts';
import type { DestinationKey } from './route.ts';
import type { EndpointProtocol, SandboxSpec } from './sandbox.ts';
import { parseServiceHost } from './service.ts';

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
  readonly kind: 'service' | 'deployment';
  readonly namespace: string;
  readonly object: string;
  readonly port: number;
};

export const serviceDestination = (namespace: string, name: string, port: number): DestinationKey =>
  `svc:${namespace}/${name}:${port}`;

export const deploymentDestination = (namespace: string, name: string, port: number): DestinationKey =>
  `deploy:${namespace}/${name}:${port}`;

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
    const parsed = parseServiceHost(w.host);
    if (parsed === undefined || parsed.kind === 'rollout') return [];
    const { kind, namespace, name: object } = parsed;
    const key = kind === 'service' ? serviceDestination : deploymentDestination;
    const { name, path, target, protocol, port } = w;
    return [
      {
        name,
        path,
        target,
        protocol,
        port,
        routeType: 'host',
        kind,
        namespace,
        object,
        destination: key(namespace, object, port),
      },
    ];
  });
  const forks: Endpoint[] = (spec.forks ?? []).flatMap((fork, i) =>
    (fork.endpoints ?? []).map(({ name, port, protocol = 'http' }, j): Endpoint => {
      const { namespace, name: object } = fork.forkOf;
      return {
        name,
        path: `spec.forks[${i}].endpoints[${j}]`,
        target: `${protocol}://${object}.${namespace}.deploy:${port}`,
        protocol,
        port,
        routeType: 'fork',
        kind: 'deployment',
        namespace,
        object,
        destination: deploymentDestination(namespace, object, port),
      };
    }),
  );
  return [...hosts, ...forks];
}

export function previewUrl(site: PreviewSite, endpoint: string, sandbox: string): string {
  const standard = site.scheme === 'http' ? 80 : 443;
  const port = site.port === standard ? '' : `:${site.port}`;
  return `${site.scheme}://${previewLabel(endpoint, sandbox)}.preview.${site.domain}${port}`;
}
