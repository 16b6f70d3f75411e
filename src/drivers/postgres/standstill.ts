/**
 * All servers stand still for a moment, so that nobody writes meanwhile: PostgreSQL ends, and recovers, when there is no
 * room for its log even for a moment (XLogWrite in xlog.c), but does not notice that it was stopped.
 */
import { identify, type ProcessId, signal } from '../../lib/process.ts';
import type { Processes } from '../processes/contract.ts';
import { SERVERS } from './parts.ts';

/** @returns what `work` returns; whatever happens to it, the servers go on */
export async function standstill<T>(processes: Processes, work: () => Promise<T>): Promise<T> {
  const stopped = new Map<string, ProcessId>();
  // Twice: who was started while the first were stopped; from then on nobody is left who could start anybody.
  for (let round = 0; round < 2; round++)
    for (const id of await serversOf(processes)) {
      const name = `${id.pid} ${id.startTime}`;
      if (!stopped.has(name) && signal(id, 'SIGSTOP')) stopped.set(name, id);
    }
  try {
    return await work();
  } finally {
    for (const id of stopped.values()) signal(id, 'SIGCONT');
  }
}

/** Lets those go on that a daemon has left standing when it was killed. */
export async function letGoOn(processes: Processes): Promise<void> {
  for (const id of await serversOf(processes)) signal(id, 'SIGCONT');
}

// --- internal -----------------------------------------------------------------------------------

async function serversOf(processes: Processes): Promise<readonly ProcessId[]> {
  const parts = await Promise.all(processes.list(SERVERS).map(part => processes.members(part)));
  return parts.flat().flatMap(pid => identify(pid) ?? []);
}
