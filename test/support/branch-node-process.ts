/**
 * A branch node (`offshoot branches`) as a container has it: process 1 of a process namespace, with mounts of its own, so
 * that whoever kills it kills all that it has started, and unmounts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { contextName } from './cluster.ts';

const main = join(import.meta.dirname, '../../src/cli/main.ts');

export type BranchNodeProcess = AsyncDisposable & {
  /** SIGKILL, to all of it. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has ended in order. */
  stop(): Promise<void>;
  /** What it has logged. */
  said(): string;
};

/** Begins; it is there when its Lease says so. @param identity file, see lib/identity.ts */
export function branchNodeProcess(o: {
  readonly node: string;
  readonly namespace: string;
  readonly home: string;
  readonly identity: string;
  readonly env?: Readonly<Record<string, string>>;
}): BranchNodeProcess {
  const spaces = ['--pid', '--fork', '--kill-child', '--mount', '--mount-proc'];
  const args = [
    ...[main, 'branches', '--node', o.node, '--namespace', o.namespace, '--identity', o.identity],
    ...['--controller', 'localhost:1', '--listen', '127.0.0.1:0', '--probes-port', '0'],
    ...(contextName === undefined ? [] : ['--context', contextName]),
  ];
  const child = spawn('unshare', [...spaces, process.execPath, ...args], {
    env: { ...process.env, OFFSHOOT_HOME: o.home, OFFSHOOT_POOL_SIZE: '4G', ...o.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  child.stderr!.setEncoding('utf8').on('data', chunk => {
    text = (text + chunk).slice(-100_000);
  });
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    if (signal === 'SIGKILL') child.kill(signal);
    else process.kill(await firstOf(child), signal);
    await closed;
  };
  return {
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    said: () => text,
    [Symbol.asyncDispose]: () => end('SIGKILL'),
  };
}

// --- internal ------------------------------------------------------------------------------------

/** Process 1 of the namespace, as we see it. */
async function firstOf({ pid }: ChildProcess): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}
