/**
 * Which branch nodes there are. Each says so in a Lease of its own, with what it says of itself in an annotation; whoever
 * places projects reads them. A node is alive while its Lease is renewed: by the reader's own clock, since clocks of two
 * machines may differ, and only of what was there before by the time that stands in it.
 */
import { Listeners } from '../lib/listeners.ts';
import type { Log } from '../lib/log.ts';
import { delay } from '../lib/wait.ts';
import type { BranchNodeState } from '../model/branch-node.ts';
import type { ClusterClient } from './client.ts';
import { type InformerState, informer } from './informer.ts';
import { annotations, labels } from './kinds.ts';
import { type KubernetesObject, resources } from './resource.ts';

export type BranchNodes = {
  /** Those that have been heard of lately. */
  alive(): readonly BranchNodeState[];
  /** All that have not taken their leave. */
  all(): readonly BranchNodeState[];
  /** Calls `listener` when one of them has said something. @returns the way to stop that */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
};

/** Resolves when those that there are have been read; rejects when the signal aborts before. */
export async function followBranchNodes({
  client,
  namespace,
  log,
  signal,
  onOpening,
}: {
  readonly client: ClusterClient;
  /** That of the installation. */
  readonly namespace: string;
  readonly log: Log;
  readonly signal?: AbortSignal;
  /** Told how fresh it is, as soon as that can be said. */
  readonly onOpening?: (states: () => readonly InformerState[]) => void;
}): Promise<BranchNodes> {
  const changed = new Listeners<void>(err => log.error({ err }, 'who is told of branch nodes has failed'));
  /** By name: until when it counts as alive, by our clock. */
  const until = new Map<string, number>();
  let isOpen = false;
  const leases = informer<Said>({
    ...{ client, resource: resources.Lease, namespace, log },
    selection: { labelSelector: labels.branchNode },
    keep: object => saidBy(object),
    onChange({ now, before }) {
      if (now === undefined) until.delete(before!.state.name);
      else {
        const oldMs = isOpen ? 0 : Math.abs(Date.now() - now.renewedAt);
        until.set(now.state.name, performance.now() + now.forMs - oldMs);
      }
      changed.tell();
    },
  });
  onOpening?.(() => [leases.state()]);
  const stop = () => void leases.close();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    await leases.synced;
  } finally {
    signal?.removeEventListener('abort', stop);
  }
  isOpen = true;
  const all = () => [...leases.entries()].map(([, { state }]) => state);
  return {
    all,
    alive: () => all().filter(({ name }) => (until.get(name) ?? 0) > performance.now()),
    onChange: changed.add,
    close: () => leases.close(),
  };
}

/**
 * Says again and again that a node is there, until the signal aborts; then that it is not any more.
 * @param state asked for each time
 */
export async function announceBranchNode({
  client,
  namespace,
  state,
  signal,
  log,
}: {
  readonly client: ClusterClient;
  readonly namespace: string;
  readonly state: () => Promise<BranchNodeState>;
  readonly signal: AbortSignal;
  readonly log: Log;
}): Promise<void> {
  let name: string | undefined;
  let [failing, pauseMs] = [false, EVERY_MS];
  while (!signal.aborted) {
    try {
      const said = await state();
      name = leaseName(said.name);
      await client.apply(resources.Lease, leaseOf(said, namespace), { signal, deadlineMs: EVERY_MS });
      [failing, pauseMs] = [false, EVERY_MS];
    } catch (err) {
      if (signal.aborted) break;
      if (!failing) log.warn({ err }, 'it cannot be said that this branch node is there; it is tried again');
      [failing, pauseMs] = [true, RETRY_MS];
    }
    await delay(pauseMs, signal).catch(() => {});
  }
  if (name !== undefined)
    await client
      .remove(resources.Lease, { namespace, name }, { deadlineMs: RETRY_MS })
      .catch(err => log.debug({ err }, 'a branch node could not take its leave'));
}

// --- internal -----------------------------------------------------------------------------------

/** Seldom: what it says is about room, and every write is one for etcd. */
const EVERY_MS = 10_000;
const RETRY_MS = 2_000;
const FOR_SECONDS = 40;

type Said = { readonly state: BranchNodeState; readonly renewedAt: number; readonly forMs: number };

const leaseName = (node: string): string => `offshoot-branch-node-${node}`;

const leaseOf = (state: BranchNodeState, namespace: string): KubernetesObject => ({
  ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
  metadata: {
    ...{ name: leaseName(state.name), namespace, labels: { [labels.branchNode]: state.name } },
    annotations: { [annotations.branchNode]: JSON.stringify(state) },
  },
  spec: {
    holderIdentity: state.name,
    leaseDurationSeconds: FOR_SECONDS,
    renewTime: new Date().toISOString().replace('Z', '000Z'), // microseconds
  },
});

/** @returns undefined for one that does not say what it should, e.g. of a later version */
function saidBy(object: KubernetesObject): Said | undefined {
  const { renewTime, leaseDurationSeconds = FOR_SECONDS } = (object.spec ?? {}) as {
    readonly renewTime?: string;
    readonly leaseDurationSeconds?: number;
  };
  try {
    const state = JSON.parse(object.metadata.annotations?.[annotations.branchNode] ?? '') as BranchNodeState;
    const { name, door, room } = state;
    const whole = [door.host, name, door.node].every(text => typeof text === 'string');
    if (!whole || ![door.port, room.freeBytes, room.totalBytes].every(Number.isFinite)) return undefined;
    return { state, renewedAt: Date.parse(renewTime ?? '') || 0, forMs: leaseDurationSeconds * 1_000 };
  } catch {
    return undefined;
  }
}
