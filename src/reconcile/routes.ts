/** The route table as a pure function of what the store knows. */

import { deploymentDestination, endpointsOf, serviceDestination } from '../model/endpoint.ts';
import type { Deployment, Manifest, Service } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { previewLabel } from '../model/names.ts';
import type {
  Address,
  Destination,
  DestinationKey,
  Listener,
  Preview,
  RouteTable,
  Target,
} from '../model/route.ts';
import { containerPortOf, selects } from '../model/service.ts';
import { workloadPorts } from '../model/workload-ports.ts';
import type { PortMap } from '../model/workload-status.ts';
import type { Stored } from '../store/contract.ts';

export type RouteInput = {
  readonly manifests: readonly Stored<'manifest'>[];
  readonly sandboxes: readonly Stored<'sandbox'>[];
};

type Typed<M extends Manifest> = Stored<'manifest'> & { readonly spec: M };

export function computeRoutes({ manifests, sandboxes }: RouteInput, version: number): RouteTable {
  const deployments = manifests.filter((m): m is Typed<Deployment> => m.spec.kind === 'Deployment');
  const services = manifests.filter((m): m is Typed<Service> => m.spec.kind === 'Service');
  const destinations: Record<DestinationKey, Destination> = {};
  const listeners: Listener[] = [];

  for (const deployment of deployments) {
    const { namespace, name } = where(deployment);
    for (const port of portsOf(deployment, services, sandboxes)) {
      destinations[deploymentDestination(namespace, name, port)] = destination(deployment, port, sandboxes);
    }
  }
  for (const service of services) {
    const { namespace, name } = where(service);
    const backing = deployments.filter(
      d =>
        namespaceOf(d.spec) === namespace &&
        selects(service.spec, d.spec.spec.template.metadata?.labels ?? {}),
    );
    for (const servicePort of service.spec.spec.ports ?? []) {
      const key = serviceDestination(namespace, name, servicePort.port);
      const behind = backing.flatMap(deployment => {
        const port = containerPortOf(servicePort, deployment.spec);
        return port === undefined ? [] : [destination(deployment, port, sandboxes)];
      });
      destinations[key] =
        behind.length > 0
          ? together(behind)
          : nobody(`Service ${namespace}/${name}`, backing.length > 0 ? servicePort.targetPort : undefined);
      const address = service.status?.addresses?.[servicePort.port];
      if (address !== undefined) listeners.push({ ...address, destination: key });
    }
  }
  return { version, destinations, listeners, previews: previews(sandboxes) };
}

// --- internal -----------------------------------------------------------------------------------

function destination(
  deployment: Typed<Deployment>,
  port: number,
  sandboxes: RouteInput['sandboxes'],
): Destination {
  const { namespace, name } = where(deployment);
  const forks: Record<string, Target> = {};
  for (const sandbox of sandboxes) {
    const isFork = ({ forkOf }: { forkOf: { namespace: string; name: string } }) =>
      forkOf.namespace === namespace && forkOf.name === name;
    if (!(sandbox.spec.forks ?? []).some(isFork)) continue;
    forks[sandbox.secret.routingKey] = forkTarget(sandbox, sandbox.status?.forks.find(isFork), port);
  }
  const label = `Deployment ${namespace}/${name}`;
  const { status } = deployment;
  const baseline = target(
    status?.ready ?? false,
    status?.ports,
    port,
    status?.reason,
    status?.message,
    label,
  );
  return { label, baseline, forks };
}

/** Several Deployments behind one Service: the baseline is all of them that are ready, a fork of any is the fork. */
function together(destinations: readonly Destination[]): Destination {
  const [first] = destinations;
  if (destinations.length === 1) return first!;
  const ready = destinations.map(d => d.baseline).filter(b => b.ready);
  return {
    label: destinations.map(d => d.label).join(', '),
    baseline:
      ready.length === 0 ? first!.baseline : { ready: true, addresses: ready.flatMap(b => b.addresses) },
    forks: Object.assign({}, ...destinations.map(d => d.forks)),
  };
}

/** A key that is known never falls back to the baseline: that would write to the main database. */
function forkTarget(
  sandbox: Stored<'sandbox'>,
  fork: NonNullable<Stored<'sandbox'>['status']>['forks'][number] | undefined,
  port: number,
): Target {
  const { name } = sandbox;
  if (sandbox.deletedAt !== undefined) {
    return { ready: false, sandbox: name, reason: 'Deleting', message: `sandbox "${name}" is being deleted` };
  }
  const found = target(fork?.ready ?? false, fork?.ports, port, fork?.reason, fork?.message, 'the fork');
  return { ...found, sandbox: name };
}

function target(
  ready: boolean,
  ports: PortMap | undefined,
  port: number,
  reason = 'Pending',
  message = 'not started yet',
  label = '',
): Target {
  if (!ready) return { ready: false, reason, message };
  const addresses: readonly Address[] = ports?.[port] ?? [];
  if (addresses.length === 0)
    return { ready: false, reason: 'NoPort', message: `${label} has no container port ${port}` };
  return { ready: true, addresses };
}

/** @param port the name of a port that no container of those that are selected has; undefined when none is selected */
function nobody(label: string, port: number | string | undefined): Destination {
  const why =
    port === undefined
      ? { reason: 'NoWorkload', message: `no Deployment is selected by ${label}` }
      : { reason: 'NoPort', message: `no container that ${label} selects has a port named "${port}"` };
  return { label, baseline: { ready: false, ...why }, forks: {} };
}

function previews(sandboxes: RouteInput['sandboxes']): Record<string, Preview> {
  const found: Record<string, Preview> = {};
  for (const sandbox of sandboxes) {
    for (const { name, destination: key, protocol } of endpointsOf(sandbox.spec)) {
      const { routingKey } = sandbox.secret;
      found[previewLabel(name, sandbox.name)] = {
        sandbox: sandbox.name,
        endpoint: name,
        routingKey,
        destination: key,
        protocol,
      };
    }
  }
  return found;
}

/** All at which the workload may be asked; previews may name ports that nobody else knows. */
function portsOf(
  deployment: Typed<Deployment>,
  services: readonly Typed<Service>[],
  sandboxes: RouteInput['sandboxes'],
): ReadonlySet<number> {
  const { namespace, name } = where(deployment);
  const ofServices = workloadPorts(
    deployment.spec,
    services.map(s => s.spec),
  );
  const ofPreviews = sandboxes
    .flatMap(sandbox => endpointsOf(sandbox.spec))
    .filter(e => e.kind === 'deployment' && e.namespace === namespace && e.object === name)
    .map(e => e.port);
  return new Set([...ofServices, ...ofPreviews]);
}

const where = (manifest: Stored<'manifest'>) => ({
  namespace: namespaceOf(manifest.spec),
  name: manifest.spec.metadata.name,
});
