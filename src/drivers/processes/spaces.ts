/**
 * Process namespaces of parts: what runs in one sees and signals nothing else. Each is held by a process of its own, on
 * record as `PART/.init`, that the next daemon finds; with it everything in the namespace ends.
 */
import type { Entrance } from '../../lib/held.ts';
import type { FoundMounts } from '../../lib/namespaces.ts';
import { isAtWork, type ProcessId } from '../../lib/process.ts';
import type { ProcessNamespace, ProcessNamespaces } from '../../lib/process-namespaces.ts';
import { until } from '../../lib/wait.ts';
import { labels } from '../labels.ts';
import type { Processes, Spaces } from './contract.ts';

/**
 * @param instance whose processes these are, for people who look at their environment
 * @returns undefined where there are none
 */
export function openSpaces(instance: string, processes: Processes, mounts: FoundMounts): Spaces | undefined {
  return 'why' in mounts || 'why' in mounts.processes
    ? undefined
    : spacesOf(instance, processes, mounts.processes);
}

// --- internal -----------------------------------------------------------------------------------

function spacesOf(instance: string, processes: Processes, namespaces: ProcessNamespaces): Spaces {
  const entered = new Map<string, Promise<Entered>>();

  return {
    holder,
    has: part => find(part) !== undefined,

    async enter(part, place) {
      for (;;) {
        const known = entered.get(part) ?? begin(part, place);
        const { first, namespace } = await known;
        if (isAtWork(first)) return namespace.entrance;
        if (entered.get(part) === known) forget(part); // somebody has killed it, and all in it
      }
    },

    async end(part) {
      forget(part);
      await processes.kill(holder(part));
    },
  };

  function begin(part: string, place: Entrance | undefined): Promise<Entered> {
    const known = open(part, place);
    entered.set(part, known);
    known.catch(() => entered.get(part) === known && entered.delete(part));
    return known;
  }

  function forget(part: string): void {
    const known = entered.get(part);
    entered.delete(part);
    known?.then(
      ({ namespace }) => namespace.close(),
      () => {},
    );
  }

  async function open(part: string, place: Entrance | undefined): Promise<Entered> {
    const { leader: first, ended } = find(part) ?? (await start(part, place));
    let over = false;
    void ended.then(() => {
      over = true;
    });
    // It is there when its process 1 is, which another process may have to start first.
    const look = () => {
      const namespace = namespaces.of(first.pid, place);
      if (namespace === undefined && (over || !isAtWork(first)))
        throw new Error('no process namespace can be made');
      return namespace;
    };
    const what = 'a process namespace is there';
    return { first, namespace: look() ?? (await until(look, { what, deadlineMs: START_MS, intervalMs: 1 })) };
  }

  function find(part: string) {
    const found = processes.find(holder(part));
    return found !== undefined && isAtWork(found.leader) ? found : undefined;
  }

  function start(part: string, place: Entrance | undefined) {
    return processes.start(holder(part), {
      argv: namespaces.first,
      env: labels(instance, holder(part)),
      ...{ cwd: '/', stdout: 'ignore', stderr: 'ignore', alone: true },
      inside: namespaces.fresh(place),
    });
  }
}

type Entered = { readonly first: ProcessId; readonly namespace: ProcessNamespace };

const START_MS = 10_000;

/** No container is called so. */
const holder = (part: string): string => `${part}/.init`;
