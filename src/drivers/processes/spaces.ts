/**
 * Process namespaces of parts: what runs in one sees and signals nothing else. Each is held by a process of its own, on
 * record as `PART/.init`, that the next daemon finds; with it everything in the namespace ends.
 */
import type { Entrance } from '../../lib/held.ts';
import { isAtWork, type ProcessId } from '../../lib/process.ts';
import type { ProcessNamespace, ProcessNamespaces } from '../../lib/process-namespaces.ts';
import { until } from '../../lib/wait.ts';
import { labels } from '../labels.ts';
import type { Processes } from './contract.ts';

export type Spaces = {
  /** Whether that of `part` is there. */
  has(part: string): boolean;
  /**
   * The way into that of `part`, which is made when there is none. @param place where it is apart from that; default: here
   * @throws the system's error, DeadlineError
   */
  enter(part: string, place?: Entrance): Promise<Entrance>;
  /** Kills all in it. One that is not there is a success. */
  end(part: string): Promise<void>;
};

/** Name of the part that holds the namespace of `part`. No container is called so. */
export const initPart = (part: string): string => `${part}/.init`;

/** @param instance whose processes these are, for people who look at their environment */
export function openSpaces(instance: string, processes: Processes, namespaces: ProcessNamespaces): Spaces {
  const entered = new Map<string, Promise<Entered>>();

  return {
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
      await processes.kill(initPart(part));
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
    const found = processes.find(initPart(part));
    return found !== undefined && isAtWork(found.leader) ? found : undefined;
  }

  function start(part: string, place: Entrance | undefined) {
    return processes.start(initPart(part), {
      argv: namespaces.first,
      env: labels(instance, initPart(part)),
      ...{ cwd: '/', stdout: 'ignore', stderr: 'ignore', alone: true },
      inside: namespaces.fresh(place),
    });
  }
}

// --- internal -----------------------------------------------------------------------------------

type Entered = { readonly first: ProcessId; readonly namespace: ProcessNamespace };

const START_MS = 10_000;
