/** How many files a process may have open, changed while it runs (prlimit(1)); only the soft limit, which it may have back. */
import { readdirSync, readFileSync } from 'node:fs';
import { exec } from '../../../src/lib/exec.ts';

export type Tightened = { restore(): Promise<void> };

/** From now on the process can open `spare` more than it has open. */
export async function tighten(pid: number, spare: number): Promise<Tightened> {
  const [, soft = ''] = /^Max open files\s+(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  // New ones are the lowest that are free; those above the limit that are open stay so.
  let limit = 0;
  for (let left = spare; open.has(limit) || left-- > 0; ) limit += 1;
  await setSoft(pid, String(limit));
  return { restore: () => setSoft(pid, soft) };
}

// --- internal -----------------------------------------------------------------------------------

async function setSoft(pid: number, soft: string): Promise<void> {
  await exec('prlimit', ['--pid', String(pid), `--nofile=${soft}:`], { deadlineMs: 5_000 });
}
