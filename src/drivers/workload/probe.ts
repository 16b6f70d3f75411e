/** One check of a process's health, as a kubelet does it (Kubernetes, "Configure Liveness, Readiness and Startup Probes"). */
import { connect } from 'node:net';
import { request as httpRequest } from '../../lib/http.ts';

/** A probe of the manifest with defaults filled in and ports resolved to containerPorts. Times in milliseconds. */
export type ProbePlan = {
  readonly check:
    | {
        readonly kind: 'http';
        /** Another than the pod; `port` is then one of it. */
        readonly host?: string;
        readonly port: number;
        readonly path: string;
        readonly tls: boolean;
        readonly headers: Readonly<Record<string, string>>;
      }
    | { readonly kind: 'tcp'; readonly host?: string; readonly port: number }
    | { readonly kind: 'grpc'; readonly port: number; readonly service: string }
    | { readonly kind: 'exec'; readonly command: readonly string[] };
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
  /** Nobody has written it: that the first port takes connections stands in for a readiness probe. */
  readonly assumed?: true;
  /** For a container that it finds ill, from the request to end until the kill. */
  readonly graceMs?: number;
};

export type ProbeTarget = {
  readonly host: string;
  /** containerPort → port on it */
  readonly ports: Readonly<Record<number, number>>;
  /** Runs a command inside the container. @throws Error unless it ends well in time */
  run(command: readonly string[], deadlineMs: number, signal: AbortSignal): Promise<unknown>;
};

/** @returns undefined when the process is well, otherwise what is wrong */
export async function checkProbe(
  { check, timeoutMs }: Pick<ProbePlan, 'check' | 'timeoutMs'>,
  target: ProbeTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  switch (check.kind) {
    case 'http':
      return checkHttp({ ...check, ...placeOf(check, target) }, timeoutMs, signal);
    case 'tcp':
      return checkTcp(placeOf(check, target), timeoutMs, signal);
    case 'grpc':
      return (await healthCheck()).checkGrpcHealth(
        { ...check, ...placeOf(check, target), timeoutMs },
        signal,
      );
    case 'exec':
      return checkExec(check.command, target, timeoutMs, signal);
  }
}

// --- internal -----------------------------------------------------------------------------------

const placeOf = (
  { host, port }: { readonly host?: string; readonly port: number },
  target: ProbeTarget,
): { readonly host: string; readonly port: number } =>
  host === undefined ? { host: target.host, port: target.ports[port]! } : { host, port };

/** Programs leave such requests out of their logs. */
const ofKubelet = { 'user-agent': 'kube-probe/1.30', accept: '*/*' };

/** Loaded when it is first used, as is https: HTTP/2 takes its time, and few are asked by it. */
const healthCheck = () => import('./grpc-health.ts');

async function checkHttp(
  probe: {
    host: string;
    port: number;
    path: string;
    tls: boolean;
    headers: Readonly<Record<string, string>>;
  },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { host, port, path, tls, headers } = probe;
  const open = tls ? (await import('node:https')).request : httpRequest;
  return await new Promise(resolve => {
    const options = {
      host,
      port,
      path,
      headers: { ...ofKubelet, ...headers },
      agent: false as const,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    };
    // A kubelet does not verify certificates either.
    const request = open({ ...options, ...(tls && { rejectUnauthorized: false }) });
    request.on('response', response => {
      const status = response.statusCode ?? 0;
      response.on('error', () => {});
      response.destroy(); // the status is all we want
      resolve(status >= 200 && status < 400 ? undefined : `GET ${path} answered ${status}`);
    });
    request.on('error', error => resolve(`GET ${path}: ${reasonOf(error, timeoutMs)}`));
    request.end();
  });
}

function checkTcp(
  { host, port }: { readonly host: string; readonly port: number },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect({
      host,
      port,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    socket.on('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on('error', error => resolve(`connect: ${reasonOf(error, timeoutMs)}`));
  });
}

async function checkExec(
  command: readonly string[],
  target: ProbeTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    await target.run(command, timeoutMs, signal);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function reasonOf(error: Error, timeoutMs: number): string {
  if (error.name === 'AbortError') return `no answer within ${timeoutMs} ms`;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
