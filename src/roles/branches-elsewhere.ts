/** What the API asks of those who hold branches, where these are nodes of a cluster: asked at their doors. */

import type { BranchesAtHand } from '../api/context.ts';
import type { BranchNodes } from '../kubernetes/branch-nodes.ts';
import type { IdentitySource } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { BranchNodeState } from '../model/branch-node.ts';
import type { BranchInsight } from '../model/insight.ts';
import { isLow } from '../model/room.ts';
import type { CheckView } from '../model/view.ts';
import { askForLog, askNode } from '../proxy/branches/dial.ts';
import type { DoorSpace, DoorVolume } from '../proxy/branches/messages.ts';
import type { Store } from '../store/contract.ts';

export type BranchesElsewhere = BranchesAtHand & {
  /** One line for each node. */
  checks(): readonly CheckView[];
  close(): void;
};

export function branchesElsewhere({
  nodes,
  store,
  identity,
  log,
}: {
  readonly nodes: BranchNodes;
  readonly store: Store;
  /** The controller's. */
  readonly identity: IdentitySource;
  readonly log: Log;
}): BranchesElsewhere {
  /** One that does not answer is left out, and the others are told of. */
  const askAll = async <T>(
    want: 'space' | 'unclaimed',
  ): Promise<readonly (readonly [BranchNodeState, T])[]> => {
    const answers = await Promise.all(
      nodes.alive().map(async node => {
        try {
          const limit = AbortSignal.timeout(ANSWER_MS);
          return [[node, await askNode<T>(node.door, { want }, identity, limit)] as const];
        } catch (err) {
          log.warn({ err, node: node.name, want }, 'a branch node does not answer');
          return [];
        }
      }),
    );
    return answers.flat();
  };
  const nodeOf = (id: string): BranchNodeState | undefined => {
    const project = store.get('branch', id)?.spec.project ?? '';
    const name = store.get('project', project)?.spec.node;
    return nodes.all().find(one => one.name === name);
  };
  let orphans: readonly string[] = [];
  const unclaimed = async () => {
    const found = await askAll<readonly DoorVolume[]>('unclaimed');
    const volumes = found.flatMap(([{ name: node }, volumes]) =>
      volumes.map(volume => ({ ...volume, node })),
    );
    orphans = volumes.map(({ id }) => id);
    return volumes;
  };
  const look = () => void unclaimed().catch(err => log.warn({ err }, 'volumes could not be looked for'));
  const timer = setInterval(look, LOOK_MS);
  look();

  return {
    close: () => clearInterval(timer),
    unclaimed,
    orphans: () => orphans,
    volumes: () => volumesOf(nodes.alive()),
    async space() {
      const found = await askAll<DoorSpace>('space');
      const sizes = found.flatMap(([, { sizes }]) =>
        sizes.map(([id, bytes, exact]) => [id, { bytes, exact }] as const),
      );
      // The node that has the least: the one where something is stopped first.
      const [least] = found.map(([, { room }]) => room).toSorted((a, b) => a.freeBytes - b.freeBytes);
      return { sizes: new Map(sizes), ...(least && { room: { ...least, low: isLow(least) } }) };
    },
    async *logs(id, query, signal) {
      const node = nodeOf(id);
      if (node !== undefined) yield* askForLog(node.door, { want: 'logs', id, query }, identity, signal);
    },
    async insight(id, signal) {
      const node = nodeOf(id);
      if (node === undefined) return undefined;
      const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
      const request = { want: 'insight', id } as const;
      return (await askNode<BranchInsight | null>(node.door, request, identity, limit)) ?? undefined;
    },
    checks() {
      const alive = new Set(nodes.alive());
      const found = nodes.all().map(node => ({
        ...{ area: 'branches', name: node.name, ok: alive.has(node) },
        detail: alive.has(node) ? node.volumes.why : 'it has not been heard of lately',
      }));
      return found.length > 0 ? found : [{ area: 'branches', name: 'nodes', ok: false, detail: NONE }];
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const ANSWER_MS = 10_000;
const LOOK_MS = 5 * 60_000;
const NONE = 'no branch node has been heard of: nobody makes branches';

function volumesOf(nodes: readonly BranchNodeState[]) {
  const [first] = nodes;
  if (first === undefined) return { driver: 'none', copyOnWrite: false, why: NONE };
  const drivers = [...new Set(nodes.map(({ volumes }) => volumes.driver))].sort();
  return {
    driver: drivers.join(', '),
    copyOnWrite: nodes.every(({ volumes }) => volumes.copyOnWrite),
    why: nodes.map(({ name, volumes }) => `${name}: ${volumes.why}`).join('; '),
  };
}
