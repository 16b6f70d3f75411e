/**
 * Who follows the stream, and what each is told of it. A proxy on the machine of the controller is told everything; a
 * gateway elsewhere all but where Services listen on this machine; a sidecar the rules of its own workload: which keys
 * lead to forks of it, or did.
 */
import type { RouteChange, RouteChanged } from '../../model/route.ts';

export type Destination = 'all' | 'gateway' | `workload/${string}`;

/** @param name as in a certificate, see authority.ts. `all` is nobody's who comes over a network. */
export function destinationNamed(name: string): Destination | undefined {
  if (name === 'gateway') return name;
  return /^workload(\/[A-Za-z0-9.-]{1,253}){2,3}$/.test(name) ? (name as Destination) : undefined;
}

/** Those that are told of a change; `every`: whoever follows. */
export function destinationsOf(change: RouteChanged): readonly Destination[] | 'every' {
  switch (change.kind) {
    case 'setting':
      return 'every';
    case 'listener':
    case 'datagrams':
      return ['all'];
    case 'fork':
      return ['all', 'gateway', workloadOfFork(change.name)];
    case 'tombstone': {
      const { workloads = [] } = change.value ?? change.before ?? {};
      return ['all', 'gateway', ...workloads.map(path => `workload/${path}` as const)];
    }
    default:
      return ['all', 'gateway'];
  }
}

/** An item as a destination is told of it. */
export function shownTo(destination: Destination, change: RouteChange): RouteChange {
  if (change.value === undefined || destination === 'all') return change;
  if (change.kind === 'tombstone') return { ...change, value: { sandbox: change.value.sandbox } };
  if (change.kind !== 'setting') return change;
  const { tls: _, pods: __, ...value } = change.value;
  if (destination === 'gateway') return { ...change, value };
  const { headers, headerBytes } = value;
  return {
    ...change,
    value: {
      ...{ domain: '', headers, keepRevoked: false, drainMs: 0 },
      ...(headerBytes !== undefined && { headerBytes }),
    },
  };
}

// --- internal ---

/** See `forkRoute` in model/route.ts. */
const workloadOfFork = (name: string): Destination => `workload/${name.slice(0, name.lastIndexOf('/'))}`;
