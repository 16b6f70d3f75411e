/** The daemon's side of the data path: what it says of a proxy that does not come. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { openDataPath, proxyCommand } from '../src/data-path.ts';
import { silentLog } from '../src/lib/log.ts';
import { until } from '../src/lib/wait.ts';
import type { Command } from '../src/proxy/stream/messages.ts';
import { proxyRunner } from '../src/proxy-runner.ts';
import { isFree } from '../src/remembered-ports.ts';
import { memoryStore } from '../src/store/memory.ts';
import { memoryBaseline } from './support/memory-baseline.ts';
import { testProcesses } from './support/processes.ts';
import { tempDir } from './support/temp.ts';

/** A data path without branches and previews, whose proxies are started by `command`, or as the daemon's are. */
async function withProxies(home: string, given?: Command) {
  const processes = await testProcesses(home);
  const read = readConfig(
    { OFFSHOOT_HOME: home, HOME: home, OFFSHOOT_HTTP_PORT: '0', OFFSHOOT_POSTGRES_PORT: '0' },
    1000,
  );
  const config = { ...read, runtimeDir: `${home}/run` };
  const command = given ?? proxyCommand(config, { PATH: process.env.PATH ?? '' });
  await Promise.all([mkdir(`${home}/logs`), mkdir(config.runtimeDir)]);
  const dataPath = await openDataPath({
    ...{ config, version: '1', house: undefined, tls: {}, pods: undefined, command, replace: false },
    ...{ runner: proxyRunner(processes, home, command), log: silentLog },
    awake: () => Promise.reject(new Error('there are no branches')),
    enter: () => Promise.reject(new Error('there are no previews')),
    onListening() {},
    shorten() {},
    onFound() {},
  });
  return {
    ...{ dataPath, processes },
    begin: () =>
      dataPath.begin(memoryStore(), memoryBaseline().baseline, [], { http: undefined, postgres: undefined }),
    async [Symbol.asyncDispose]() {
      await dataPath.stop(0);
      assert.deepEqual(processes.list('proxy'), []);
      await processes.close();
    },
  };
}

test('proxies that end at once are not waited for: their last words are told, and nothing of them is left', async () => {
  await using dir = await tempDir();
  const script = "echo 'TypeError: this is all' >&2; echo '    at somewhere' >&2; exit 1";
  await using path = await withProxies(dir.path, { program: '/bin/sh', args: ['-c', script], env: {} });
  await assert.rejects(path.begin(), {
    code: 'proxy/not-started',
    message: 'no proxy can be started: TypeError: this is all',
  });
});

test('a proxy that takes the place of one that was killed listens where that did, also where any port would do', async () => {
  await using dir = await tempDir();
  await using path = await withProxies(dir.path);
  const before = await path.begin();
  const [first] = path.dataPath.proxies();
  process.kill(first!.pid, 'SIGKILL');
  const second = await until(() => path.dataPath.proxies().find(({ pid }) => pid !== first!.pid), {
    ...{ what: 'the next proxy', deadlineMs: 60_000 },
  });
  assert.notEqual(second.pid, first!.pid);
  for (const [name, { host, port }] of Object.entries(before))
    await until(async () => ((await isFree(host, port)) ? undefined : true), {
      ...{ what: `${name} is served at ${port} again`, deadlineMs: 60_000 },
    });
});
