/**
 * Branches whose node is not heard of: what was last seen of them stands in their status, and nobody is there to say otherwise. Who
 * decides says it for them, in a condition, and takes that back when the node is heard again. Its own status a node writes itself.
 */
import type { Log } from '../lib/log.ts';
import { type Repeated, repeat } from '../lib/repeat.ts';
import { NODE_HEARD, setCondition } from '../model/conditions.ts';
import { isTrashed } from '../model/trash.ts';
import type { Store, Stored } from '../store/contract.ts';
import { branchesHere } from './placed.ts';
import type { Placement } from './placement.ts';

export type SilentNodesOptions = {
  readonly store: Store;
  readonly placement: Placement;
  readonly now: () => Date;
  readonly log: Log;
  /** Milliseconds for which a node may be away: its pod is replaced, or we have just begun to listen. Default 20 000. */
  readonly patienceMs?: number;
  /** Milliseconds between two looks, default 5 000. */
  readonly everyMs?: number;
};

/** From now on, until it is stopped. */
export function watchSilentNodes({
  store,
  placement,
  now,
  log,
  patienceMs = 20_000,
  everyMs = 5_000,
}: SilentNodesOptions): Repeated {
  /** By name: when it was first missed. */
  const missed = new Map<string, number>();

  async function look(): Promise<number> {
    const alive = new Set(placement.alive().map(({ name }) => name));
    const nodes = new Set(
      store.list('project').flatMap(({ spec }) => (spec.node === undefined ? [] : [spec.node])),
    );
    for (const node of nodes) {
      if (alive.has(node)) missed.delete(node);
      else if (!missed.has(node)) missed.set(node, performance.now());
      const isSilent = performance.now() - (missed.get(node) ?? Number.POSITIVE_INFINITY) >= patienceMs;
      if (isSilent || alive.has(node)) await tell(node, isSilent);
    }
    for (const node of missed.keys()) if (!nodes.has(node)) missed.delete(node);
    return everyMs;
  }

  async function tell(node: string, isSilent: boolean): Promise<void> {
    const branches = branchesHere(store, node).filter(
      one => one.status !== null && isSaid(one) !== isSilent && !(isSilent && isTrashed(one)),
    );
    const message = `the branch node ${node} has not been heard of: this is what it last said`;
    for (const { name } of branches)
      await store.modify('branch', name, ({ status }) => {
        if (status === null) return undefined;
        const others = status.conditions.filter(({ type }) => type !== NODE_HEARD);
        const silent = { type: NODE_HEARD, status: 'False', reason: 'NodeSilent', message } as const;
        const conditions = isSilent ? setCondition(others, silent, now().toISOString()) : others;
        return { status: { ...status, conditions } };
      });
    const projects = new Set(branches.map(({ spec }) => spec.project));
    for (const name of isSilent ? projects : [])
      await store.record({ kind: 'project', name, severity: 'warning', reason: 'NodeSilent', message });
  }

  return repeat(look, err => log.warn({ err }, 'whether branch nodes are there could not be said'));
}

// --- internal -----------------------------------------------------------------------------------

const isSaid = ({ status }: Stored<'branch'>): boolean =>
  status?.conditions.some(({ type }) => type === NODE_HEARD) ?? false;
