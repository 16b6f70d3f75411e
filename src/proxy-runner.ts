/**
 * Starts proxies so that they outlive us, and knows them again. Each start is a part of its own: one that only serves
 * the connections that it has must not end because another one is started.
 */
import { closeSync, openSync } from 'node:fs';
import type { Processes } from './drivers/processes/contract.ts';
import { isAlive } from './lib/process.ts';
import { delay } from './lib/wait.ts';
import type { Runner, Running } from './proxy/keeper.ts';
import { outFile } from './proxy/places.ts';
import type { Command } from './proxy/stream/messages.ts';

export function proxyRunner(processes: Processes, home: string, { program, args, env }: Command): Runner {
  let part = '';
  const parts = () => processes.list('proxy');
  const running = (name: string): Running | undefined => {
    const found = processes.find(name);
    if (found !== undefined) part = name;
    return found;
  };
  return {
    // The one that was started last: others only serve what they have.
    find: () =>
      [...parts()]
        .sort((a, b) => numberOf(b) - numberOf(a))
        .map(running)
        .find(found => found !== undefined),
    async start() {
      for (const old of parts()) if ((await processes.members(old)).length === 0) await processes.kill(old);
      part = `proxy/${1 + Math.max(0, ...parts().map(numberOf))}`;
      const out = openSync(outFile(home), 'a', 0o600);
      try {
        return await processes.start(part, {
          ...{ argv: [program, ...args], env, cwd: '/', stdout: out, stderr: out },
        });
      } finally {
        closeSync(out);
      }
    },
    async succeed(leader) {
      return (await processes.succeed(part, leader.pid)) ?? { leader, ended: untilDead(leader) };
    },
    async kill() {
      for (const one of parts()) await processes.kill(one);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const numberOf = (part: string): number => Number(part.slice('proxy/'.length)) || 0;

/** For one that the registry cannot know, because its predecessor had ended before anybody looked. */
async function untilDead(leader: Running['leader']): Promise<void> {
  while (isAlive(leader)) await delay(25);
}
