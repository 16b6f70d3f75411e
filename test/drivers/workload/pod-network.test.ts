/** Workloads whose pods have networks of their own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import type { WorkloadSeen, WorkloadSpec } from '../../../src/drivers/contract.ts';
import type { Networks } from '../../../src/drivers/network/contract.ts';
import type { Container } from '../../../src/model/kubernetes.ts';
import { getFrom, noNetworks, openTestNetworks } from '../../support/networks.ts';
import { tempDir } from '../../support/temp.ts';
import { ctx, openTestRuntime, podSpecOf, specOf, untilReady, untilSeen } from '../../support/workload.ts';

const missing = await noNetworks();

/** A server with its port in its code, whatever `$PORT` is; it answers with what the container sees. */
const fixed = (host: string, more: Partial<Container> = {}): Partial<Container> => ({
  command: ['node', '-e', SERVER, host],
  ...more,
});

const SERVER = `require('node:http').createServer((_, response) => response.end(JSON.stringify(process.env)))
  .listen(3000, process.argv[1])`;

async function runtime() {
  await using stack = new AsyncDisposableStack();
  const home = stack.use(await tempDir()).path;
  const networks = await openTestNetworks(home);
  stack.defer(() => networks.close());
  const driver = await openTestRuntime(home, networks);
  stack.defer(() => driver.close());
  const owned = stack.move();
  return { driver, networks, home, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const urlOf = (seen: WorkloadSeen, replica = 0): string => {
  const { host, port } = seen.ports[3000]![replica]!;
  return `http://${host}:${port}/`;
};

const environment = async (networks: Networks, url: string) =>
  JSON.parse(await getFrom(networks, url)) as Record<string, string>;

describe('pods with networks of their own', { skip: missing ?? false, concurrency: true }, () => {
  it('run programs with a fixed port side by side, and tell them their address', async () => {
    await using r = await runtime();
    const env = [
      { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
      { name: 'PORT_METRICS', value: 'mine' },
    ];
    await r.driver.ensure('one', specOf(fixed('0.0.0.0', { env }), { replicas: 2 }), ctx());
    await r.driver.ensure('two', specOf(fixed('::')), ctx());
    const [one, two] = [await untilReady(r.driver, 'one'), await untilReady(r.driver, 'two')];
    const all = [urlOf(one), urlOf(one, 1), urlOf(two)];
    assert.equal(new Set(all).size, 3);
    for (const url of all) {
      const { PORT, IP } = await environment(r.networks, url);
      assert.equal(PORT, '3000');
      assert.ok(IP === undefined || url === `http://${IP}:3000/`);
    }
    assert.equal((await environment(r.networks, all[0]!)).PORT_METRICS, 'mine');
    assert.equal(one.message, 'ready');
    assert.equal(r.networks.list().length, 3);
    await r.driver.remove('one', ctx());
    assert.deepEqual(r.networks.list(), ['workload/two/0']);
  });

  it('let the port that a manifest gives its program win', async () => {
    await using r = await runtime();
    const env = [{ name: 'PORT', value: '3000' }];
    const ports = [{ containerPort: 9090 }, { containerPort: 3000 }];
    const readinessProbe = { tcpSocket: { port: 3000 } };
    await r.driver.ensure('web', specOf({ env, ports, readinessProbe }), ctx());
    const seen = await untilReady(r.driver, 'web');
    assert.equal((await environment(r.networks, `${urlOf(seen)}env`)).PORT, '3000');
  });

  it('are reached at 127.0.0.1 too, with a warning; at ::1 alone there is only the warning', async () => {
    await using r = await runtime();
    await r.driver.ensure('v4', specOf(fixed('127.0.0.1')), ctx());
    await r.driver.ensure('v6', specOf(fixed('::1')), ctx());
    const v4 = await untilReady(r.driver, 'v4');
    assert.equal(
      v4.message,
      'ready; port 3000 is listened at on 127.0.0.1 only; in a cluster nobody would reach it',
    );
    assert.equal((await environment(r.networks, urlOf(v4))).PORT, '3000');
    const v6 = await untilSeen(r.driver, 'v6', 'the warning is there', seen => seen.message.includes('::1'));
    assert.match(v6.message, /^.+; port 3000 is listened at on ::1 only, where nobody reaches it$/);
    assert.ok(!v6.ready);
  });

  it('are what exec probes see, and share nothing with the machine unless they ask for its network', async () => {
    await using r = await runtime();
    const own = [
      'node',
      '-e',
      "require('node:net').connect(3000, '127.0.0.1').on('error', () => process.exit(1)).end()",
    ];
    const readinessProbe = { exec: { command: own }, periodSeconds: 1 };
    await r.driver.ensure('own', specOf(fixed('0.0.0.0', { readinessProbe })), ctx());
    await untilReady(r.driver, 'own');
    await r.driver.ensure('host', podSpecOf({ hostNetwork: true }), ctx());
    const host = await untilReady(r.driver, 'host');
    assert.equal(host.ports[3000]![0]!.host, '127.0.0.1');
    assert.notEqual(host.ports[3000]![0]!.port, 3000);
    assert.deepEqual(r.networks.list(), ['workload/own/0']);
  });

  it('go on under the next daemon, what listens at 127.0.0.1 too; without networks it starts anew, and back', async () => {
    await using stack = new AsyncDisposableStack();
    const home = stack.use(await tempDir()).path;
    // Whatever the test did: a daemon on this home takes its workloads with it when it closes.
    stack.defer(async () => {
      const networks = await openTestNetworks(home);
      const last = await openTestRuntime(home, networks);
      await last.close();
      await networks.close();
    });
    const before = await killedDaemon(home, { NETWORKS: '1' }, specOf(fixed('127.0.0.1')));
    {
      const networks = await openTestNetworks(home);
      const second = await openTestRuntime(home, networks);
      const after = await untilReady(second, 'web');
      assert.deepEqual([after.ports, after.restarts], [before.ports, 0]);
      assert.equal((await environment(networks, urlOf(after))).PORT, '3000');
      await second.close();
      await networks.close();
    }
    const shared = await killedDaemon(home, {}, specOf());
    assert.equal(shared.ports[3000]![0]!.host, '127.0.0.1');
    {
      const networks = await openTestNetworks(home);
      const third = await openTestRuntime(home, networks);
      const anew = await untilSeen(
        third,
        'web',
        'it is in a network',
        seen => seen.ready && seen.ports[3000]![0]!.host !== '127.0.0.1',
      );
      assert.equal(anew.ports[3000]![0]!.port, 3000);
      await third.close();
      await networks.close();
    }
  });
});

/** What was seen of the workload `web` before its daemon was killed. */
async function killedDaemon(
  home: string,
  env: Record<string, string>,
  spec: WorkloadSpec,
): Promise<WorkloadSeen> {
  const fixture = join(import.meta.dirname, '../../support/fixtures/daemon.ts');
  const daemon = spawn(process.execPath, [fixture, home, JSON.stringify(spec)], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const signal = AbortSignal.timeout(60_000);
    const [line] = (await once(createInterface(daemon.stdout), 'line', { signal })) as [string];
    return JSON.parse(line) as WorkloadSeen;
  } finally {
    daemon.kill('SIGKILL');
  }
}
