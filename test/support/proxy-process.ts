/** The data path as a process of its own, and a daemon's end for it in the test's process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { identify, isAlive } from '../../src/lib/process.ts';
import { until } from '../../src/lib/wait.ts';
import type { Address } from '../../src/model/route.ts';
import type { Runner, Running } from '../../src/proxy/keeper.ts';
import { feedSocket, tableFile } from '../../src/proxy/places.ts';
import type { FeedOptions } from '../../src/proxy/stream/feed.ts';
import type { Command } from '../../src/proxy/stream/messages.ts';
import { startFeed, type TestFeed } from './stream.ts';
import { tempDir } from './temp.ts';

const entry = fileURLToPath(new URL('../../src/proxy.ts', import.meta.url));

export type ProxyHome = {
  readonly home: string;
  readonly command: Command;
  /** Starts a proxy; it is killed at the end of the test. */
  start(): Promise<ChildProcess>;
  /** The daemon's end, a new one each time. */
  feed(options?: Partial<FeedOptions>): Promise<TestFeed>;
  /** For a keeper; all that it starts is killed at the end of the test. */
  readonly runner: Runner & { readonly pids: readonly number[] };
  log(): string;
};

export async function proxyHome(t: TestContext): Promise<ProxyHome> {
  const dir = await tempDir();
  const [home, runtimeDir] = [join(dir.path, 'home'), join(dir.path, 'run')];
  mkdirSync(join(home, 'logs'), { recursive: true });
  const pids: number[] = [];
  let over = false;
  t.after(async () => {
    over = true;
    for (const pid of pids) killIfThere(pid);
    await until(() => !pids.some(pid => identify(pid)) || undefined, {
      ...{ what: 'the proxies are gone', deadlineMs: 60_000 },
    });
    await dir[Symbol.asyncDispose]();
  });
  const command: Command = {
    program: process.execPath,
    args: [entry, '--home', home, '--runtime-dir', runtimeDir, '--log-level', 'debug'],
    env: { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '' },
  };
  const start = async () => {
    const out = openSync(join(home, 'logs', 'proxy.out'), 'a');
    const child = spawn(command.program, command.args, {
      ...{ env: command.env, detached: true, stdio: ['ignore', out, out] },
    });
    await once(child, 'spawn');
    pids.push(child.pid!);
    return child;
  };
  const running = (pid: number): Running | undefined => {
    const leader = identify(pid);
    if (leader === undefined) return undefined;
    const gone = () => !isAlive(leader) || undefined;
    const ended = until(gone, { what: 'its end', deadlineMs: 120_000 }).catch(() => new Promise(() => {}));
    return { leader, ended };
  };
  let last: number | undefined;
  return {
    home,
    command,
    start,
    feed: options =>
      startFeed(t, feedSocket(runtimeDir), {
        isAlive: ({ pid }) => identify(pid) !== undefined,
        dropTable: () => rm(tableFile(home), { force: true }),
        ...options,
      }),
    runner: {
      pids,
      find: () => (last === undefined ? undefined : running(last)),
      async start() {
        if (over) return await new Promise<Running>(() => {});
        last = (await start()).pid!;
        return running(last) ?? { leader: { pid: last, startTime: '' }, ended: Promise.resolve() };
      },
      async succeed(leader) {
        pids.push(leader.pid);
        last = leader.pid;
        return running(leader.pid) ?? { leader, ended: Promise.resolve() };
      },
      async kill() {
        for (const pid of pids) killIfThere(pid);
      },
    },
    log: () => readFileSync(join(home, 'logs', 'proxy.log'), 'utf8'),
  };
}

/** Where the listener `name` answers, once a proxy has said so. */
export const untilOpen = (feed: TestFeed, name: string): Promise<Address> =>
  until(
    () => {
      const found = feed.reports.at(-1)?.find(state => state.name === name && state.error === undefined);
      return found && { host: found.host, port: found.port };
    },
    { what: `listener ${name} is open`, deadlineMs: 60_000 },
  );

export function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}
