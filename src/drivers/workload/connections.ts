/** Who is connected to a port, from the kernel's tables (proc_net_tcp(5)). Linux only; elsewhere nobody is seen. */
import { readFile } from 'node:fs/promises';
import { delay } from '../../lib/wait.ts';

/**
 * Waits until no connection to one of `ports` is left, or the time is over.
 * @param pids processes in whose network the ports are
 */
export async function untilIdle(
  pids: readonly number[],
  ports: readonly number[],
  deadlineMs: number,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (performance.now() < end && (await isConnected(pids[0], ports))) await delay(EVERY_MS);
}

// --- internal -----------------------------------------------------------------------------------

const EVERY_MS = 10;
/** tcp_states.h */
const ESTABLISHED = '01';

async function isConnected(pid: number | undefined, ports: readonly number[]): Promise<boolean> {
  if (pid === undefined || ports.length === 0) return false;
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map(table => readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '')),
  );
  return tables.some(table =>
    table.split('\n').some(line => {
      const [, local = '', , state] = line.trim().split(/\s+/);
      return state === ESTABLISHED && ports.includes(Number.parseInt(local.split(':')[1] ?? '', 16));
    }),
  );
}
