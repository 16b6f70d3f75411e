/** Whose process is this? Two variables in the environment of all we start: found again without any file. */
import { readFile } from 'node:fs/promises';
import { findByEnv, isAlive, killGroup, type ProcessId } from '../lib/process.ts';
import { until } from '../lib/wait.ts';

/** `part` is `workload/ID/CONTAINER/REPLICA` or `step/ID`, with ids and names as `pathName` writes them. */
export const labels = (instance: string, part: string): Readonly<Record<string, string>> => ({
  OFFSHOOT_INSTANCE: instance,
  OFFSHOOT_PART: part,
});

export type Labelled = ProcessId & { readonly part: string };

/** All processes of one daemon's home, whoever started them. Empty where environments cannot be read. */
export async function findLabelled(instance: string): Promise<Labelled[]> {
  const found: Labelled[] = [];
  for (const id of await findByEnv('OFFSHOOT_INSTANCE', instance)) {
    const environ = await readFile(`/proc/${id.pid}/environ`, 'utf8').catch(() => '');
    const part = /(?:^|\0)OFFSHOOT_PART=([^\0]*)/.exec(environ)?.[1];
    if (part !== undefined) found.push({ ...id, part });
  }
  return found;
}

/** The one that was started first of those in `part` that lead a group; undefined when there is none. */
export function findLeader(processes: readonly Labelled[], part: string): ProcessId | undefined {
  const leaders = processes.filter(p => p.part === part && leadsGroup(p.pid));
  const [first] = leaders.sort((a, b) => Number(a.startTime) - Number(b.startTime) || a.pid - b.pid);
  return first && { pid: first.pid, startTime: first.startTime };
}

/** All processes whose part is `part` or below it. */
export const findPart = async (instance: string, part: string): Promise<Labelled[]> =>
  (await findLabelled(instance)).filter(p => p.part === part || p.part.startsWith(`${part}/`));

/**
 * Kills every process whose part is `part` or below it, and returns when none is left.
 * @param dying others that were killed a moment ago: a dying process loses its environment before its ports
 * @returns all of them
 */
export async function killPart(
  instance: string,
  part: string,
  dying: readonly ProcessId[] = [],
): Promise<readonly ProcessId[]> {
  const killed: ProcessId[] = [...dying];
  await until(
    async () => {
      const found = await findPart(instance, part);
      for (const { pid } of found) {
        killGroup(pid, 'SIGKILL'); // when it leads one
        killProcess(pid);
      }
      killed.push(...found);
      return found.length === 0 && !killed.some(isAlive) ? true : undefined;
    },
    { what: `the processes of ${part} end`, deadlineMs: 10_000 },
  );
  return killed;
}

/** An id as one path segment, so that no id can be a way to another folder. `pathId` is the way back. */
export const pathName = (id: string): string => encodeURIComponent(id).replace(/^\./, '%2E');
export const pathId = (name: string): string => decodeURIComponent(name);

// --- internal -----------------------------------------------------------------------------------

function leadsGroup(pid: number): boolean {
  try {
    return process.kill(-pid, 0);
  } catch {
    return false;
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
