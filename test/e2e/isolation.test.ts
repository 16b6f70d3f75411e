/** Two sandboxes at once: nobody sees what another one writes, by whatever way the request comes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { http } from '../../scripts/demo/http.ts';
import type { CheckView, SandboxView } from '../../src/model/view.ts';
import { addUser, deployBaseline, example, sandboxDocument, users } from '../support/baseline.ts';
import { testDaemon } from '../support/daemon.ts';

test('two sandboxes and the baseline are isolated from each other', async t => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  const { url: baseline, key } = await deployBaseline(cli);
  const auth = { 'signadot-api-key': key };
  const make = async (name: string) => {
    const made = await cli(['sandbox', 'apply', '-f', '-', '-o', 'json'], { input: sandboxDocument(name) });
    assert.equal(made.code, 0, made.stderr);
    return JSON.parse(made.stdout) as SandboxView;
  };
  const [pr1, pr12] = await Promise.all([make('pr-1'), make('pr-12')]);
  const urlOf = (s: SandboxView) => s.endpoints[0]!.url;

  await t.test('writes in one are seen only there', async () => {
    await addUser(urlOf(pr1), 'One', auth);
    await addUser(urlOf(pr12), 'Twelve', auth);
    await addUser(baseline, 'Base');
    const extra = (names: readonly string[]) => names.slice(5);
    assert.deepEqual(extra(await users(urlOf(pr1), auth)), ['One']);
    assert.deepEqual(extra(await users(urlOf(pr12), auth)), ['Twelve']);
    assert.deepEqual(extra(await users(baseline)), ['Base']);
  });

  await t.test('a routing key leads to the same sandbox in every carrier', async () => {
    const { routingKey } = pr1;
    const carriers: Record<string, string>[] = [
      { baggage: `other=1, sd-routing-key=${routingKey};p=1` },
      { tracestate: `vendor=x,sd-routing-key=${routingKey}` },
      { 'ot-baggage-sd-routing-key': routingKey },
      { 'uberctx-sd-routing-key': routingKey },
    ];
    for (const headers of carriers) {
      assert.equal((await users(baseline, headers)).at(-1), 'One', JSON.stringify(headers));
    }
    assert.equal((await users(baseline, { baggage: 'sd-routing-key=unknownkey123' })).at(-1), 'Base');
  });

  await t.test('a password opens only its own branch', async () => {
    const url = async (branch: string) => new URL((await cli(['branch', 'url', branch])).stdout.trim());
    const [main, sandbox] = await Promise.all([url('main'), url('sb-pr-1')]);
    assert.notEqual(main.password, sandbox.password);
    sandbox.password = main.password;
    const { runSql } = await import('../support/run-sql.ts');
    await assert.rejects(
      runSql(sandbox.href, 'select 1', AbortSignal.timeout(60_000)),
      /password authentication failed/,
    );
  });

  await t.test('get-env tells how the service runs in the sandbox', async () => {
    const env = JSON.parse((await cli(['sandbox', 'get-env', 'pr-1', '-o', 'json'])).stdout) as Record<
      string,
      string
    >;
    assert.equal(env.SIGNADOT_SANDBOX_NAME, 'pr-1');
    assert.equal(env.DATABASE_URL, (await cli(['branch', 'url', 'sb-pr-1'])).stdout.trim());
  });

  await t.test('routing rules are told to whoever asks', async () => {
    const url = `${daemon.client.connection.url}/api/v1/workloads/routing-rules?routingKey=${pr12.routingKey}`;
    const answer = await http(url, { headers: { 'offshoot-api-key': daemon.client.connection.apiKey } });
    const { routingRules } = answer.json() as { routingRules: { destinationSandbox: { name: string } }[] };
    assert.deepEqual(
      routingRules.map(r => r.destinationSandbox.name),
      ['pr-12'],
    );
  });

  await t.test(
    'a baseline keeps its own database while a fork gets a branch of another project',
    async () => {
      const run = async (args: readonly string[], input?: string) => {
        const { code, stdout, stderr } = await cli(args, {
          cwd: example,
          ...(input !== undefined && { input }),
        });
        assert.equal(code, 0, stderr);
        return stdout.trim();
      };
      await run(['project', 'create', 'staging-copy']);
      await run(['branch', 'wait', 'main', '--project', 'staging-copy']);
      for (const file of ['db/schema.sql', 'db/seed.sql'])
        await run(['sql', 'main', '--project', 'staging-copy', '-f', file]);
      const fields = (names: readonly string[]) => names.map(name => ({ name, valueFromSandbox: true }));
      const plugin = {
        name: 'copy-branch',
        spec: {
          create: [
            { name: 'provision', uses: 'branch/create', inputs: fields(['project', 'parent-branch']) },
          ],
          delete: [{ name: 'deprovision', uses: 'branch/delete', inputs: fields(['project']) }],
        },
      };
      await run(['resourceplugin', 'apply', '-f', '-'], JSON.stringify(plugin));
      const params = { project: 'staging-copy', 'parent-branch': 'main' };
      const resources = [{ name: 'usersDb', plugin: 'copy-branch', params }];
      const own = JSON.parse(
        await run(['sandbox', 'apply', '-f', '-', '-o', 'json'], sandboxDocument('pr-own', { resources })),
      ) as SandboxView;
      const before = await users(baseline);
      await addUser(urlOf(own), 'Own', auth);
      assert.deepEqual((await users(urlOf(own), auth)).slice(5), ['Own']);
      assert.deepEqual(await users(baseline), before);
      const named = async (...more: string[]) =>
        (JSON.parse(await run(['branch', 'list', '-o', 'json', ...more])) as { name: string }[]).map(
          b => b.name,
        );
      assert.deepEqual(await named('--project', 'staging-copy'), ['main', 'sb-pr-own']);
      assert.ok(!(await named()).includes('sb-pr-own'));
      await run(['sandbox', 'delete', 'pr-own']);
      assert.deepEqual(await named('--project', 'staging-copy'), ['main']);
    },
  );

  await t.test(
    'after the delete its key leads nowhere, also after a restart, and nothing of it is left',
    async () => {
      const gone = await cli(['sandbox', 'delete', 'pr-1']);
      assert.equal(gone.code, 0, gone.stderr);
      const late = async () => {
        for (const [url, headers] of [
          [`${baseline}/users`, { baggage: `sd-routing-key=${pr1.routingKey}` }],
          [`${urlOf(pr1)}/users`, auth],
        ] as const) {
          const { status, body } = await http(url, { method: 'POST', headers, body: { name: 'Late' } });
          assert.equal(status, 410, body);
          assert.match(body, /sandbox \\"pr-1\\", which was deleted/);
        }
      };
      const before = await users(baseline);
      await late();
      assert.deepEqual(await users(baseline, { baggage: 'sd-routing-key=bcdfghjklmnpq' }), before);
      await daemon.down();
      assert.equal((await cli(['up', '--detach'])).code, 0);
      await late();
      const branches = JSON.parse((await cli(['branch', 'list', '-o', 'json'])).stdout) as { name: string }[];
      assert.deepEqual(
        branches.map(b => b.name),
        ['main', 'sb-pr-12'],
      );
      assert.deepEqual(await daemon.labelled('sb-pr-1.'), []);
    },
  );
});

/** A fork whose container is changed. */
const changed = (container: object) => ({
  resources: [],
  forks: [
    {
      forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users-service' },
      customizations: {
        patch: {
          type: 'strategic',
          value: JSON.stringify({
            spec: { template: { spec: { containers: [{ name: 'users-service', ...container }] } } },
          }),
        },
      },
    },
  ],
});

test('a fork that crashes, or needs more memory than it may have, is seen, restarted and explained', async () => {
  await using daemon = await testDaemon();
  const { cli } = daemon;
  await deployBaseline(cli);
  const make = (name: string, container: object) =>
    cli(['sandbox', 'apply', '-f', '-', '--wait-timeout', '40s'], {
      input: sandboxDocument(name, changed(container)),
    });
  const doctor = JSON.parse((await cli(['doctor', '-o', 'json'])).stdout) as readonly CheckView[];
  if (doctor.some(({ name, ok }) => name === 'processes/limits' && ok)) {
    const command = ['/bin/sh', '-c', 'exec tail /dev/zero']; // it keeps a line without an end in its memory
    const hungry = await make('hungry', { command, resources: { limits: { memory: '32Mi' } } });
    assert.equal(hungry.code, 1);
    assert.match(
      hungry.stderr,
      /fork of demo\/users-service: container "users-service" was killed: it needed more memory than its limit of 32Mi/,
    );
  }
  const crash = { command: ['node', '-e', 'console.error("no luck today"); process.exit(7)'] };
  const made = await make('crash', crash);
  assert.equal(made.code, 1);
  assert.match(
    made.stderr,
    /error: sandbox "crash" cannot become ready: fork of demo\/users-service: .*exit code 7/,
  );
  assert.match(made.stderr, /\| no luck today/);
  const { status } = JSON.parse((await cli(['sandbox', 'get', 'crash', '-o', 'json'])).stdout) as SandboxView;
  assert.equal(status.forks[0]!.reason, 'CrashLoopBackOff');
  assert.ok(status.forks[0]!.restarts >= 1);
  const key = (await cli(['key', 'create', 'crash'])).stdout.trim();
  const url = (JSON.parse((await cli(['sandbox', 'get', 'crash', '-o', 'json'])).stdout) as SandboxView)
    .endpoints[0]!.url;
  const answer = await http(`${url}/users`, { headers: { 'signadot-api-key': key } });
  assert.equal(answer.status, 503);
  assert.match(answer.body, /crash/);
  assert.equal((await cli(['sandbox', 'delete', 'crash'])).code, 0);
});
