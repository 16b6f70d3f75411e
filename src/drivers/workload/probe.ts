/** One check of a process's health, as a kubelet does it (Kubernetes, "Configure Liveness, Readiness and Startup Probes"). */
import type { Socket } from 'node:net';
import { dial } from '../../lib/dial.ts';
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
  /** A connection to such a port. @throws the system's error; the signal's reason */
  connect(port: number, signal: AbortSignal): Promise<Socket>;
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

type Place = {
  readonly host: string;
  readonly port: number;
  connect(signal: AbortSignal): Promise<Socket>;
};

/** A probe that names a host asks it from this machine, as a kubelet does. */
function placeOf(asked: { readonly host?: string; readonly port: number }, target: ProbeTarget): Place {
  const { host } = asked;
  const port = host === undefined ? target.ports[asked.port]! : asked.port;
  return {
    host: host ?? target.host,
    port,
    connect: signal => (host === undefined ? target.connect(port, signal) : dial({ host, port }, signal)),
  };
}

/** Programs leave such requests out of their logs. */
const ofKubelet = { 'user-agent': 'kube-probe/1.30', accept: '*/*' };

/** Loaded when it is first used, as is TLS: HTTP/2 takes its time, and few are asked by it. */
const healthCheck = () => import('./grpc-health.ts');

async function checkHttp(
  probe: Place & { path: string; tls: boolean; headers: Readonly<Record<string, string>> },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { host, port, path, tls } = probe;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  let socket: Socket | undefined;
  try {
    const own = await probe.connect(deadline);
    socket = own;
    // A kubelet does not verify certificates either.
    const stream = tls ? (await import('node:tls')).connect({ socket: own, rejectUnauthorized: false }) : own;
    for (const one of [own, stream]) one.on('error', () => {}); // told by the request
    const createConnection = () => stream;
    const status = await new Promise<number>((resolve, reject) => {
      const headers = { ...ofKubelet, ...probe.headers };
      const options = { host, port, path, headers, createConnection, signal: deadline };
      const request = httpRequest(options);
      request.on('response', response => {
        response.on('error', () => {});
        resolve(response.statusCode ?? 0); // it is all we want
      });
      request.on('error', reject);
      request.end();
    });
    return status >= 200 && status < 400 ? undefined : `GET ${path} answered ${status}`;
  } catch (error) {
    return `GET ${path}: ${reasonOf(error as Error, timeoutMs)}`;
  } finally {
    socket?.destroy();
  }
}

async function checkTcp(place: Place, timeoutMs: number, signal: AbortSignal): Promise<string | undefined> {
  try {
    const socket = await place.connect(AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
    socket.destroy();
    return undefined;
  } catch (error) {
    return `connect: ${reasonOf(error as Error, timeoutMs)}`;
  }
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
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
