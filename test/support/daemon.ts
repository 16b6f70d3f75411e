/**
 * A real daemon as a process, on free ports and in a temporary data directory:
 * `await using daemon = await testDaemon()`. At the end of its scope nothing of it is left, also when the
 * test failed or killed the daemon.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cliRunner, type RunCli } from '../../scripts/demo/cli.ts';
import { readClientFile } from '../../src/cli/context.ts';
import { type Client, createClient } from '../../src/client/index.ts';
import { readConfig } from '../../src/config.ts';
import { placesForGroups } from '../../src/lib/cgroups.ts';
import { identify } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';
import { labelled } from './labelled.ts';

/** Of the checkout. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

export type TestDaemon = AsyncDisposable & {
  readonly home: string;
  /** For processes that are to use this daemon. */
  readonly env: NodeJS.ProcessEnv;
  readonly cli: RunCli;
  /** Of the daemon that runs now; a new one after each start. */
  readonly client: Client;
  readonly pid: number;
  /** Kills the daemon and waits until it is gone; what it started lives on. */
  kill9(): Promise<void>;
  /** `offshoot down`; what is stored stays. */
  down(): Promise<void>;
  /** `pid part` of all processes that this daemon's drivers started and whose part contains `text`, sorted. */
  labelled(text: string): Promise<readonly string[]>;
  /** What is mounted for this daemon. */
  mounts(): readonly string[];
  /** Its control groups. */
  groups(): Promise<readonly string[]>;
};

export type TestDaemonOptions = {
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default true: `up --detach` has run. */
  readonly start?: boolean;
  /** Folder for the data directory, default the one for temporary files. */
  readonly within?: string;
};

export async function testDaemon(options: TestDaemonOptions = {}): Promise<TestDaemon> {
  const home = await mkdtemp(join(options.within ?? tmpdir(), 'offshoot-test-'));
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    // A small image: tests run side by side, and each has a pool of its own.
    OFFSHOOT_POOL_SIZE: '2G',
    // Whatever runs on this machine is none of its business.
    OFFSHOOT_ENGINE: 'none',
    ...options.env,
    OFFSHOOT_HOME: home,
    OFFSHOOT_API_PORT: options.env?.OFFSHOOT_API_PORT ?? '0',
    OFFSHOOT_HTTP_PORT: options.env?.OFFSHOOT_HTTP_PORT ?? '0',
    OFFSHOOT_POSTGRES_PORT: options.env?.OFFSHOOT_POSTGRES_PORT ?? '0',
  };
  const { instance, runtimeDir } = readConfig(env, process.getuid?.() ?? 1);
  const cli = cliRunner(root, env);
  const reach = () => {
    const file = readClientFile(home);
    assert.ok(file, 'the daemon has written its client file');
    return file;
  };
  const isRunning = async () => {
    const pid = readClientFile(home)?.pid;
    if (pid === undefined) return false;
    const environ = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
    return environ.split('\0').includes(`OFFSHOOT_HOME=${home}`);
  };
  const daemon: TestDaemon = {
    home,
    env,
    cli,
    get client() {
      return createClient(reach());
    },
    get pid() {
      return reach().pid;
    },
    async kill9() {
      const { pid } = reach();
      process.kill(pid, 'SIGKILL');
      await until(() => (identify(pid) === undefined ? true : undefined), {
        what: 'the daemon is gone',
        deadlineMs: 60_000,
      });
    },
    async down() {
      const { code, stderr } = await cli(['down']);
      assert.equal(code, 0, `offshoot down: ${stderr}`);
    },
    async labelled(text) {
      const found = (await labelled(instance)).filter(({ part }) => part.includes(text));
      return found.map(({ pid, part }) => `${pid} ${part}`).sort();
    },
    mounts: () =>
      readFileSync('/proc/self/mounts', 'utf8')
        .split('\n')
        .filter(line => line.includes(home) || line.includes(runtimeDir)),
    async groups() {
      const homes = (await placesForGroups()).map(place => join(place, `offshoot-${instance}`));
      return homes.filter(existsSync);
    },
    async [Symbol.asyncDispose]() {
      const first = await cli(['down']);
      if (first.code !== 0) {
        // Whatever the reason is: a daemon that is dead is cleaned up after.
        if (await isRunning()) await daemon.kill9();
        await cli(['down']);
      }
      const left = await daemon.labelled('');
      for (const entry of left) process.kill(Number.parseInt(entry, 10), 'SIGKILL');
      const mounts = daemon.mounts();
      const groups = await daemon.groups();
      await rm(home, { recursive: true, force: true });
      assert.equal(first.code, 0, `offshoot down: ${first.stderr}`);
      assert.deepEqual(left, [], 'no process is left');
      assert.deepEqual(mounts, [], 'nothing is mounted any more');
      assert.deepEqual(groups, [], 'no control group is left');
    },
  };
  if (options.start !== false) {
    const up = await cli(['up', '--detach']);
    if (up.code !== 0) {
      await daemon[Symbol.asyncDispose]().then(undefined, () => {}); // the reason comes first
      assert.fail(`offshoot up: ${up.stderr}`);
    }
  }
  return daemon;
}
