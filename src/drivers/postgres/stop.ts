/** Ends a server: politely, then less so (postgres(1), "Shutdown": SIGINT is fast, SIGQUIT immediate). */
import { isAlive, type ProcessId } from '../../lib/process.ts';
import { DeadlineError, until } from '../../lib/wait.ts';
import { send } from './processes.ts';

const STAGES: readonly (readonly [signal: NodeJS.Signals, graceMs: number])[] = [
  ['SIGINT', 20_000],
  ['SIGQUIT', 5_000],
  ['SIGKILL', 10_000],
];

/**
 * Returns when the process is gone.
 * @returns true when it ended in order, false when it was killed: its children may still live then
 */
export async function stop(server: ProcessId, signal: AbortSignal): Promise<boolean> {
  for (const [name, deadlineMs] of STAGES) {
    try {
      if (isAlive(server)) send(server.pid, name);
      const what = `server process ${server.pid} ends after ${name}`;
      await until(() => (isAlive(server) ? undefined : true), { what, deadlineMs, intervalMs: 2, signal });
      return name !== 'SIGKILL';
    } catch (error) {
      if (!(error instanceof DeadlineError) || name === 'SIGKILL') throw error;
    }
  }
  throw new TypeError('the last stage neither returned nor threw');
}
