/**
 * The ports of a workload. What its containers declare is information only (API reference, Container, `ports`): a
 * Service sends to any number that it names, and a probe asks any. Here somebody has to know them all before the
 * start, because each becomes a port of this machine.
 */
import type { Container, Service, Workload } from './kubernetes.ts';
import { namespaceOf } from './manifest-name.ts';
import { selects } from './service.ts';
import { keyOfWorkload, podLabels } from './workload.ts';

/** TCP ports that Services send to by number and no container declares or probes; in the order of the Services. */
export function servedPorts(workload: Workload, services: readonly Service[]): readonly number[] {
  const own = new Set(ownPorts(workload));
  const served = services
    .filter(s => namespaceOf(s) === keyOfWorkload(workload).namespace && selects(s, podLabels(workload)))
    .flatMap(s => s.spec.ports ?? [])
    .filter(({ protocol = 'TCP' }) => protocol === 'TCP')
    .flatMap(({ port, targetPort = port }) => (typeof targetPort === 'number' ? [targetPort] : []));
  return [...new Set(served)].filter(port => !own.has(port));
}

/** All at which the workload may be asked. */
export const workloadPorts = (workload: Workload, services: readonly Service[]): readonly number[] => [
  ...ownPorts(workload),
  ...servedPorts(workload, services),
];

/** Ports that the container declares. */
export const declaredPorts = (
  { ports = [] }: Container,
  transport: 'TCP' | 'UDP' = 'TCP',
): readonly number[] =>
  ports.filter(({ protocol = 'TCP' }) => protocol === transport).map(({ containerPort }) => containerPort);

/** Ports that its probes ask by number. */
export const probedPorts = (container: Container): readonly number[] =>
  (['startupProbe', 'readinessProbe', 'livenessProbe'] as const)
    .map(probe => container[probe])
    .map(probe => (probe?.httpGet ?? probe?.tcpSocket ?? probe?.grpc)?.port)
    .filter(port => typeof port === 'number');

/**
 * Which container listens on a port that none declares: the one that is probed there, else the first that says nothing
 * of ports, else the first.
 */
export function listenerOf(port: number, containers: readonly Container[]): Container | undefined {
  return (
    containers.find(container => probedPorts(container).includes(port)) ??
    containers.find(({ ports = [] }) => ports.length === 0) ??
    containers[0]
  );
}

// --- internal -----------------------------------------------------------------------------------

const ownPorts = ({ spec }: Workload): readonly number[] => [
  ...new Set(spec.template.spec.containers.flatMap(c => [...declaredPorts(c), ...probedPorts(c)])),
];
