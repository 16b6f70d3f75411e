/** The daemon's side of the data path: what it says of a proxy that does not come. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { openDataPath } from '../src/data-path.ts';
import { silentLog } from '../src/lib/log.ts';
import { proxyRunner } from '../src/proxy-runner.ts';
import { memoryStore } from '../src/store/memory.ts';
import { memoryBaseline } from './support/memory-baseline.ts';
import { testProcesses } from './support/processes.ts';
import { tempDir } from './support/temp.ts';

test('proxies that end at once are not waited for: their last words are told, and nothing of them is left', async () => {
  await using dir = await tempDir();
  const processes = await testProcesses(dir.path);
  const config = {
    ...readConfig({ OFFSHOOT_HOME: dir.path, HOME: dir.path }, 1000),
    runtimeDir: `${dir.path}/run`,
  };
  const script = "echo 'TypeError: this is all' >&2; echo '    at somewhere' >&2; exit 1";
  const command = { program: '/bin/sh', args: ['-c', script], env: {} };
  await mkdir(`${dir.path}/logs`);
  const dataPath = await openDataPath({
    ...{
      config,
      version: '1',
      house: undefined,
      tls: {},
      pods: undefined,
      command,
      replace: false,
      log: silentLog,
    },
    runner: proxyRunner(processes, dir.path, command),
    awake: () => Promise.reject(new Error('there are no branches')),
    enter: () => Promise.reject(new Error('there are no previews')),
    onListening() {},
    shorten() {},
    onFound() {},
  });
  try {
    await assert.rejects(
      dataPath.begin(memoryStore(), memoryBaseline().baseline, [], { http: 0, postgres: 0 }),
      {
        code: 'proxy/not-started',
        message: 'no proxy can be started: TypeError: this is all',
      },
    );
  } finally {
    await dataPath.stop(0);
  }
  assert.deepEqual(processes.list('proxy'), []);
  await processes.close();
});
