/** Probes, on real processes. Periods are whole seconds in Kubernetes, so these are the slow tests; they run side by side. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { describe, it } from 'node:test';
import { watchHealth } from '../../../src/drivers/workload/health.ts';
import { connects } from '../../../src/drivers/workload/probe-plan.ts';
import type { Container } from '../../../src/model/kubernetes.ts';
import {
  ask,
  ctx,
  portOf,
  shell,
  specOf,
  type TestRuntime,
  testRuntime,
  untilReady,
  untilSeen,
} from '../../support/workload.ts';

/** Sets the health of fixtures/grpc.mjs's service `shop`. */
async function tellGrpc(port: number, status: 'SERVING' | 'NOT_SERVING'): Promise<void> {
  const session = connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':path': `/${status}`, ':method': 'POST' });
  stream.resume();
  await once(stream, 'close');
  session.destroy();
}

const httpGet = { path: '/health', port: 'http' };
const ports = [{ containerPort: 3000, name: 'http' }];
const every = { periodSeconds: 1, timeoutSeconds: 60, failureThreshold: 1 };

const run = async ({ driver }: TestRuntime, container: Partial<Container>) => {
  await driver.ensure('web', specOf({ ports, ...container }), ctx());
};

describe('health', { concurrency: true }, () => {
  it('is not ready while the readiness probe fails, and ready again when it succeeds', async () => {
    await using r = await testRuntime();
    await run(r, { readinessProbe: { httpGet, ...every } });
    const port = portOf(await untilReady(r.driver, 'web'));
    await ask(port, '/sick');
    const sick = await untilSeen(r.driver, 'web', 'it is sick', seen => !seen.ready);
    assert.equal(sick.reason, 'ProbeFailing');
    assert.equal(sick.message, 'readiness probe failed: GET /health answered 500');
    await ask(port, '/well');
    const well = await untilReady(r.driver, 'web');
    assert.equal(well.restarts, 0);
  });

  it('says so when a program never becomes ready', async () => {
    await using r = await testRuntime();
    await run(r, { readinessProbe: { httpGet: { path: '/nowhere', port: 3000 }, ...every } });
    // Until it listens, the probe fails otherwise.
    const wrong = 'readiness probe failed: GET /nowhere answered 404';
    const seen = await untilSeen(r.driver, 'web', 'it fails', s => s.message === wrong);
    assert.deepEqual([seen.ready, seen.reason], [false, 'ProbeFailing']);
  });

  it('starts a process again whose liveness probe fails', async () => {
    await using r = await testRuntime();
    await run(r, { livenessProbe: { httpGet, ...every } });
    const port = portOf(await untilReady(r.driver, 'web'));
    const life = await ask(port, '/life');
    await ask(port, '/sick');
    const wrong = 'container "main": liveness probe failed: GET /health answered 500';
    const seen = await untilSeen(r.driver, 'web', 'it is ended', s => s.message.startsWith(wrong));
    assert.deepEqual([seen.ready, seen.reason], [false, 'CrashLoopBackOff']);
    assert.notEqual(await ask(portOf(await untilReady(r.driver, 'web')), '/life'), life);
  });

  it('lets the startup probe succeed before it asks the others, and gives up when it does not', async () => {
    await using r = await testRuntime();
    await run(r, { startupProbe: { exec: { command: ['/bin/sh', '-c', 'exit 1'] }, ...every } });
    const seen = await untilSeen(r.driver, 'web', 'it is restarted', s => s.restarts > 0);
    assert.match(seen.message, /startup probe failed: .*exit code 1/);
    assert.equal(seen.ready, false);
    await run(r, { startupProbe: { exec: { command: ['/bin/sh', '-c', 'test -n "$PORT"'] }, ...every } });
    await untilReady(r.driver, 'web');
  });

  it('takes a connection for readiness when nothing else is said', async () => {
    await using r = await testRuntime();
    await run(r, { image: 'shell', args: ['exec sleep 600'], ports: [{ containerPort: 3000 }] });
    const seen = await untilSeen(r.driver, 'web', 'its port is chosen', s => s.ports[3000]!.length === 1);
    assert.deepEqual([seen.ready, seen.reason], [false, 'Starting']);
    const slow = await untilSeen(r.driver, 'web', 'it says why', s => s.message !== seen.message);
    assert.deepEqual([slow.reason, slow.message], ['Starting', 'nothing listens at port 3000 yet']);
    await r.driver.ensure('idle', specOf(shell('exec sleep 600')), ctx());
    assert.equal((await untilReady(r.driver, 'idle')).reason, 'Running');
  });

  it('does not wait for ever for a port that only a manifest names', async () => {
    const probe = { ...connects(3000), periodMs: 20 };
    const reported: string[] = [];
    const done = new AbortController();
    let opens = false;
    const watching = watchHealth(
      { readiness: probe },
      {
        check: async () => (opens ? undefined : 'refused'),
        report: ({ ready, message }) => {
          reported.push(`${ready} ${message}`);
          if (opens) done.abort(new Error('seen'));
          opens = true;
        },
        started() {},
        signal: done.signal,
      },
    );
    await assert.rejects(watching, /seen/);
    assert.deepEqual(reported, ['true ready, but nothing listens at port 3000', 'true ready']);
  });

  it('asks the health service of a program that speaks gRPC, by its thresholds', async () => {
    await using r = await testRuntime();
    const grpc = { port: 3000, service: 'shop' };
    await run(r, {
      image: 'grpc',
      readinessProbe: { grpc, ...every },
      livenessProbe: { grpc: { port: 3000 } },
    });
    const port = portOf(await untilReady(r.driver, 'web'));
    await tellGrpc(port, 'NOT_SERVING');
    const sick = await untilSeen(r.driver, 'web', 'it is sick', seen => !seen.ready);
    assert.equal(sick.message, 'readiness probe failed: health check answered NOT_SERVING');
    await tellGrpc(port, 'SERVING');
    assert.equal((await untilReady(r.driver, 'web')).restarts, 0);
  });

  it('refuses a probe that it cannot check', async () => {
    await using r = await testRuntime();
    await run(r, { readinessProbe: { httpGet: { port: 'nobody' } } });
    assert.equal(
      (await r.driver.observe('web', ctx()))!.message,
      'container "main": readinessProbe names the port "nobody", which the container does not have',
    );
    await run(r, { livenessProbe: {} });
    assert.equal(
      (await r.driver.observe('web', ctx()))!.message,
      'container "main": livenessProbe has none of httpGet, tcpSocket, exec and grpc',
    );
  });
});
