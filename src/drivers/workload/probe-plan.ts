/** From the probes of a manifest to what we check. Pure. */
import type { Container, Probe } from '../../model/kubernetes.ts';
import type { Probes } from './health.ts';
import type { ProbePlan } from './probe.ts';

/**
 * @returns the probes with Kubernetes' defaults (pod-v1-core, "Probe") filled in, and the ports that they
 * name; or a sentence about the first that cannot be checked here
 */
export function planProbes(
  container: Container,
): { readonly probes: Probes; readonly ports: readonly number[] } | { readonly wrong: string } {
  const probes: { startup?: ProbePlan; readiness?: ProbePlan; liveness?: ProbePlan } = {};
  const ports: number[] = [];
  for (const kind of ['startup', 'readiness', 'liveness'] as const) {
    const probe = container[`${kind}Probe`];
    if (probe === undefined) continue;
    const check = planCheck(container, probe);
    if (typeof check === 'string') return { wrong: `${kind}Probe ${check}` };
    if (check.kind !== 'exec' && !('host' in check)) ports.push(check.port);
    probes[kind] = {
      check,
      initialDelayMs: 1000 * (probe.initialDelaySeconds ?? 0),
      periodMs: 1000 * Math.max(1, probe.periodSeconds ?? 10),
      timeoutMs: 1000 * Math.max(1, probe.timeoutSeconds ?? 1),
      successThreshold: Math.max(1, probe.successThreshold ?? 1),
      failureThreshold: Math.max(1, probe.failureThreshold ?? 3),
      ...graceOf(probe),
    };
  }
  return { probes, ports };
}

/** What stands in for a readiness probe that nobody wrote: the port takes connections. */
export const connects = (port: number): ProbePlan => ({
  check: { kind: 'tcp', port },
  initialDelayMs: 0,
  periodMs: 10_000,
  timeoutMs: 1_000,
  successThreshold: 1,
  failureThreshold: 3,
  assumed: true,
});

/** @returns a sentence when it cannot be checked here */
export function planCheck(
  container: Container,
  { httpGet, tcpSocket, exec, grpc }: Pick<Probe, 'httpGet' | 'tcpSocket' | 'exec' | 'grpc'>,
): ProbePlan['check'] | string {
  if (exec !== undefined)
    return exec.command.length > 0 ? { kind: 'exec', command: exec.command } : 'has an empty command';
  if (grpc !== undefined) return { kind: 'grpc', port: grpc.port, service: grpc.service ?? '' };
  const named = (httpGet ?? tcpSocket)?.port;
  if (named === undefined) return 'has none of httpGet, tcpSocket, exec and grpc';
  const port = typeof named === 'number' ? named : portByName(container, named);
  if (port === undefined) return `names the port "${named}", which the container does not have`;
  const elsewhere = hostOf((httpGet ?? tcpSocket)?.host);
  if (httpGet === undefined) return { kind: 'tcp', ...elsewhere, port };
  return {
    kind: 'http',
    ...elsewhere,
    port,
    path: httpGet.path ?? '/',
    tls: httpGet.scheme?.toUpperCase() === 'HTTPS',
    headers: Object.fromEntries((httpGet.httpHeaders ?? []).map(h => [h.name, h.value])),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** A kubelet asks its own machine then, which is where pods of the host's network are. */
const hostOf = (host = ''): { readonly host?: string } =>
  ['', 'localhost', '127.0.0.1', '::1', '0.0.0.0'].includes(host) ? {} : { host };

/** A number in quotes is a number too, as YAML tools like to quote. */
function portByName(container: Container, name: string): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  return container.ports?.find(p => p.name === name)?.containerPort;
}

/** What a probe says about the end of a container that it finds ill goes before what the pod says. */
const graceOf = ({ terminationGracePeriodSeconds: seconds }: Probe): { graceMs?: number } =>
  typeof seconds === 'number' && seconds >= 0 ? { graceMs: 1000 * seconds } : {};
