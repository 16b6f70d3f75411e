/** Workloads of the process runtime: where they live, what they are made of, how to wait for them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Ctx, WorkloadDriver, WorkloadSeen, WorkloadSpec } from '../../src/drivers/contract.ts';
import { type EngineOptions, openEngine } from '../../src/drivers/engine/containers.ts';
import type { Engine } from '../../src/drivers/engine/contract.ts';
import type { Networks } from '../../src/drivers/network/contract.ts';
import type { Processes } from '../../src/drivers/processes/contract.ts';
import { openSpaces } from '../../src/drivers/processes/spaces.ts';
import { openProcessRuntime } from '../../src/drivers/workload/process-runtime.ts';
import { silentLog } from '../../src/lib/log.ts';
import { logRotation } from '../../src/lib/log-rotation.ts';
import { findPrivateMounts } from '../../src/lib/namespaces.ts';
import { until } from '../../src/lib/wait.ts';
import type { ImageMap } from '../../src/model/image.ts';
import type { Container, PodTemplate } from '../../src/model/kubernetes.ts';
import { testProcesses } from './processes.ts';
import { tempDir } from './temp.ts';

const fixtures = join(import.meta.dirname, 'fixtures');

/** `server` is fixtures/server.mjs, `grpc` fixtures/grpc.mjs, `shell` runs its `args` as a shell script. */
export const testImages: ImageMap = {
  server: { dir: fixtures, command: ['node', 'server.mjs'] },
  grpc: { dir: fixtures, command: ['node', 'grpc.mjs'] },
  shell: { dir: fixtures, command: ['/bin/sh', '-c'] },
};

export const testNode = { name: 'test-node', cpus: 4, memoryBytes: 8 * 1024 ** 3 };

export const testBaseEnv = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', LANG: 'C' };

export const ctx = (): Ctx => ({ signal: AbortSignal.timeout(60_000), log: silentLog });

/**
 * A runtime on `home`, with a registry of processes that is closed with it. Its instance is the home.
 * @param networks absent: pods share the network of this machine
 * @param sockets of container engines
 * @param logBytes most that all logs together may take
 */
export async function openTestRuntime(
  home: string,
  networks?: Networks,
  sockets: EngineOptions['sockets'] = { why: 'this test has none' },
  logBytes = 2 ** 29,
): Promise<WorkloadDriver & { readonly processes: Processes; readonly engine: Engine }> {
  const processes = await testProcesses(home);
  const engine = await openEngine({ home, instance: home, sockets, log: silentLog });
  const hide = join(home, 'hidden');
  const mounts = await findPrivateMounts(testBaseEnv.PATH ?? '', processes.shells, { hide });
  const rotation = logRotation(logBytes, () => {});
  const driver = await openProcessRuntime({
    home,
    instance: home,
    processes,
    engine,
    spaces: openSpaces(home, processes, mounts),
    mounts,
    baseEnv: testBaseEnv,
    nodePath: process.execPath,
    node: testNode,
    networks,
    rotation,
    log: silentLog,
  });
  // What the loop does, when no proxy leads anybody anywhere.
  const stopReleasing = driver.onChange(async id => {
    const { leaving = [] } = (await driver.observe(id, ctx())) ?? {};
    if (leaving.length > 0) driver.release(id, leaving);
  });
  const close = async () => {
    stopReleasing();
    await driver.close();
    await rotation.stop();
    await engine.close();
    await processes.close();
  };
  return { ...driver, processes, engine, close };
}

export type TestRuntime = AsyncDisposable & {
  readonly driver: WorkloadDriver;
  readonly processes: Processes;
  readonly home: string;
};

/**
 * A runtime in a temporary home; all it started is gone at the end of the scope.
 * @param within folder of the home, default the one for temporary files
 */
export async function testRuntime(within?: string): Promise<TestRuntime> {
  await using stack = new AsyncDisposableStack();
  const { path: home } = stack.use(await tempDir(undefined, within));
  const driver = await openTestRuntime(home);
  stack.defer(() => driver.close());
  const owned = stack.move();
  const { processes } = driver;
  return { driver, processes, home, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

export type SpecParts = {
  readonly replicas?: number;
  readonly refs?: Partial<WorkloadSpec['refs']>;
  /** Default: `testImages`. */
  readonly images?: ImageMap;
  readonly network?: Partial<WorkloadSpec['network']>;
};

/** A Deployment `demo/web` with one container, of image `server` with port 3000 unless `container` says otherwise. */
export function specOf(container: Partial<Container> = {}, parts: SpecParts = {}): WorkloadSpec {
  const { replicas, refs, images = testImages, network } = parts;
  return {
    owner: 'baseline',
    workload: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'demo' },
      spec: {
        ...(replicas !== undefined && { replicas }),
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: {
            containers: [
              {
                name: 'main',
                image: 'registry.example/acme/server:1',
                ports: [{ containerPort: 3000 }],
                ...container,
              },
            ],
          },
        },
      },
    },
    refs: { configMaps: {}, secrets: {}, binary: { configMaps: {}, secrets: {} }, ...refs },
    images,
    network: { env: {}, hosts: [], ports: [], ...network },
  };
}

/** The same with other fields of the pod. */
export function podSpecOf(pod: Partial<PodTemplate['spec']>, parts: SpecParts = {}): WorkloadSpec {
  const spec = specOf({}, parts);
  const { template } = spec.workload.spec;
  const changed = { ...template, spec: { ...template.spec, ...pod } };
  return {
    ...spec,
    workload: { ...spec.workload, spec: { ...spec.workload.spec, template: changed } },
  };
}

/** A container without ports that runs a shell script. */
export const shell = (script: string): Partial<Container> => ({ image: 'shell', args: [script], ports: [] });

/** The runtime of a daemon that was killed as soon as `web`, with a spec of our own, was in the state asked for. */
export async function killedAt(
  home: string,
  spec: WorkloadSpec,
  state: string,
  engine?: string,
): Promise<void> {
  const fixture = join(import.meta.dirname, 'fixtures/daemon.ts');
  const args = [fixture, home, JSON.stringify(spec), state, ...(engine === undefined ? [] : [engine])];
  const daemon = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  daemon.on('error', () => {});
  const exited = once(daemon, 'exit');
  await once(createInterface(daemon.stdout), 'line');
  daemon.kill('SIGKILL');
  await exited;
}

/** Waits until what is seen of a workload is as wanted. */
export const untilSeen = (
  driver: WorkloadDriver,
  id: string,
  what: string,
  wanted: (seen: WorkloadSeen) => boolean,
): Promise<WorkloadSeen> =>
  until(
    async () => {
      const seen = await driver.observe(id, ctx());
      return seen !== undefined && wanted(seen) ? seen : undefined;
    },
    { what, deadlineMs: 60_000 },
  );

export const untilReady = (driver: WorkloadDriver, id: string): Promise<WorkloadSeen> =>
  untilSeen(driver, id, `${id} is ready`, seen => seen.ready);

export const portOf = (seen: WorkloadSeen, containerPort = 3000): number =>
  seen.ports[containerPort]![0]!.port;

/** GET from the fixture; over a fresh connection, so that none is left to hold the process. */
export function ask<T>(port: number, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, agent: false }, response => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve(JSON.parse(text) as T));
    });
    asked.on('error', reject);
    asked.end();
  });
}
