/**
 * The route book: what a proxy knows, looked up by key. It changes in steps, each of them whole at once: who looks
 * something up and goes on without waiting sees either all of a step or nothing of it.
 */
import type {
  Address,
  DestinationKey,
  RouteChange,
  RouteChanged,
  RouteKind,
  RouteKinds,
  Target,
} from '../model/route.ts';

/** Addresses, or why there are none. */
export type Answerer =
  | { readonly ready: true; readonly addresses: readonly Address[]; readonly sandbox?: string }
  | {
      readonly ready: false;
      readonly reason: string;
      readonly message: string;
      readonly sandbox?: string;
    };

/** A destination as it is now; not to be kept beyond the present turn of the event loop. */
export type Destination = {
  /** `Deployment <namespace>/<name>`, or the Service when no workload backs it; for messages. */
  readonly label: string;
  baseline(): Answerer;
  /** @returns undefined when the key has no fork here */
  fork(routingKey: string): Answerer | undefined;
};

export type Book = {
  get<K extends RouteKind>(kind: K, name: string): RouteKinds[K] | undefined;
  names(kind: RouteKind): Iterable<string>;
  /** @returns undefined when nothing of that name is deployed */
  destination(key: DestinationKey): Destination | undefined;
  /** The sandbox that a routing key belonged to, if it is deleted. */
  tombstone(routingKey: string): string | undefined;
  /** Everything, in no order. */
  all(): Iterable<RouteChange>;
  /** Takes a step. What is as it was is no change. */
  apply(changes: Iterable<RouteChange>): void;
  /** Becomes `items`: what is not among them is gone. One step. */
  replace(items: Iterable<RouteChange>): void;
  /** Calls `listener` after every step with what has changed. @returns the way to stop that */
  onChange(listener: (changed: readonly RouteChanged[]) => void): () => void;
};

export function createBook(first: Iterable<RouteChange> = []): Book {
  const items: Readonly<Record<RouteKind, Map<string, unknown>>> = {
    workload: new Map(),
    fork: new Map(),
    service: new Map(),
    listener: new Map(),
    datagrams: new Map(),
    preview: new Map(),
    tombstone: new Map(),
    key: new Map(),
    visit: new Map(),
    branch: new Map(),
    setting: new Map(),
  };
  const listeners = new Set<(changed: readonly RouteChanged[]) => void>();
  const get = <K extends RouteKind>(kind: K, name: string) =>
    items[kind].get(name) as RouteKinds[K] | undefined;

  const destinationOf = ({ label, behind, outside, missingPort }: RouteKinds['service']): Destination => ({
    label,
    baseline() {
      if (outside !== undefined) return outsideOf(label, outside);
      if (behind.length === 0) return nobody(label, missingPort);
      return together(
        behind.map(({ workload, port }) => {
          const found = get('workload', workload);
          return at(found?.target ?? gone, port, found?.label ?? label);
        }),
      );
    },
    fork(routingKey) {
      const forks = behind.flatMap(({ workload, port }) => {
        const found = get('fork', `${workload}/${routingKey}`);
        return found === undefined ? [] : [{ ...at(found.target, port, 'the fork'), sandbox: found.sandbox }];
      });
      return forks.length === 0 ? undefined : together(forks);
    },
  });

  const book: Book = {
    get,
    names: kind => items[kind].keys(),
    destination(key) {
      const service = get('service', key);
      if (service !== undefined) {
        const labels = service.behind.map(({ workload }) => get('workload', workload)?.label);
        const known = labels.filter(label => label !== undefined);
        return destinationOf({ ...service, label: known.length === 0 ? service.label : known.join(', ') });
      }
      const [, workload, port] = /^deploy:(.+):(\d+)$/.exec(key) ?? [];
      const found = workload === undefined ? undefined : get('workload', workload);
      if (workload === undefined || found === undefined) return undefined;
      return destinationOf({ label: found.label, behind: [{ workload, port: Number(port) }] });
    },
    tombstone: routingKey => get('tombstone', routingKey)?.sandbox,
    *all() {
      for (const [kind, named] of Object.entries(items)) {
        for (const [name, value] of named) yield { kind, name, value } as RouteChange;
      }
    },
    apply(changes) {
      const changed: RouteChanged[] = [];
      for (const change of changes) {
        const named = items[change.kind];
        if (named === undefined) continue; // a kind of a later version
        const { name, value } = change;
        const before = named.get(name);
        if (same(before, value)) continue;
        if (value === undefined) named.delete(name);
        else named.set(name, value);
        changed.push({ ...change, before } as RouteChanged);
      }
      if (changed.length > 0) for (const listener of listeners) listener(changed);
    },
    replace(next) {
      const wanted = [...next];
      const kept = new Set(wanted.map(({ kind, name }) => `${kind} ${name}`));
      const missing = [...book.all()].filter(({ kind, name }) => !kept.has(`${kind} ${name}`));
      book.apply([...missing.map(({ kind, name }) => ({ kind, name }) as RouteChange), ...wanted]);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  book.apply(first);
  return book;
}

// --- internal ---

function nobody(label: string, missingPort: string | undefined): Answerer {
  const why =
    missingPort === undefined
      ? { reason: 'NoWorkload', message: `no Deployment is selected by ${label}` }
      : { reason: 'NoPort', message: `no container that ${label} selects has a port named "${missingPort}"` };
  return { ready: false, ...why };
}

const outsideOf = (label: string, addresses: readonly Address[]): Answerer =>
  addresses.length > 0
    ? { ready: true, addresses }
    : {
        ready: false,
        reason: 'NoEndpoints',
        message: `${label} selects nothing, and no Endpoints say where it leads`,
      };

const gone: Target = { ready: false, reason: 'NoWorkload', message: 'it is gone' };

function at(target: Target, port: number, label: string): Answerer {
  if (!target.ready) return target;
  const addresses = target.ports[port] ?? [];
  if (addresses.length > 0) return { ready: true, addresses };
  const { ips = [] } = target;
  if (ips.length > 0) return { ready: true, addresses: ips.map(host => ({ host, port })) };
  return { ready: false, reason: 'NoPort', message: `${label} has no container port ${port}` };
}

/** Several workloads behind one Service: all of them that are ready answer in turn. */
function together(answerers: readonly Answerer[]): Answerer {
  const [first] = answerers;
  if (answerers.length === 1) return first!;
  const ready = answerers.filter(a => a.ready);
  return ready.length === 0 ? first! : { ...ready[0]!, addresses: ready.flatMap(a => a.addresses) };
}

/** Items are plain data whose fields come in the order of the code that makes them. */
const same = (one: unknown, other: unknown): boolean =>
  one === other || JSON.stringify(one) === JSON.stringify(other);
