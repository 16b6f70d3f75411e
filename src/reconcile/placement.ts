/**
 * On which of several nodes of branches a project is: chosen once, when it is new, because its volumes do not move. A branch
 * shares its blocks with what it grew from, so all of a project is on one node.
 */
import type { BranchNodeState } from '../model/branch-node.ts';
import { isLow } from '../model/room.ts';
import type { Store, Stored } from '../store/contract.ts';
import { branchesHere } from './placed.ts';

/** The nodes that there are. */
export type Placement = {
  /** Those that have been heard of lately. */
  alive(): readonly BranchNodeState[];
  /** Calls `listener` when they are others, or have other room. @returns the way to stop that */
  onChange(listener: () => void): () => void;
};

/** Told when there may be a node for those who have none. */
export const placementTopic = 'branch-nodes';

/**
 * Gives a project a node, unless it has one.
 * @returns false: there is none to give
 */
export async function place(store: Store, project: string, nodes: Placement): Promise<boolean> {
  const found = store.get('project', project);
  if (found === undefined || found.spec.node !== undefined) return true;
  const node = chooseNode(nodes.alive(), name => branchesHere(store, name).length);
  if (node === undefined) {
    await sayUnplaced(store, project);
    return false;
  }
  await store.modify('project', project, ({ spec }) =>
    spec.node === undefined ? { spec: { ...spec, node } } : undefined,
  );
  const message = `project ${project} is on branch node ${node}`;
  await store.record({ kind: 'project', name: project, severity: 'info', reason: 'Placed', message });
  return true;
}

/**
 * Where the room that each branch finds is largest: what is free, by how many there are to share it. One whose room is
 * low gets nothing new unless all are. Pure.
 * @param branchesOn how many are placed there, by name of the node
 */
export function chooseNode(
  nodes: readonly BranchNodeState[],
  branchesOn: (node: string) => number,
): string | undefined {
  const roomy = nodes.filter(({ room }) => !isLow(room));
  const share = ({ name, room }: BranchNodeState) => room.freeBytes / (1 + branchesOn(name));
  const [best] = (roomy.length > 0 ? roomy : nodes).toSorted(
    (a, b) => share(b) - share(a) || (a.name < b.name ? -1 : 1),
  );
  return best?.name;
}

// --- internal -----------------------------------------------------------------------------------

/** Nobody else says anything of branches that no node looks after. */
async function sayUnplaced(store: Store, project: string): Promise<void> {
  const unplaced = store.by('branch/project', project).filter(({ status }) => status === null);
  await Promise.all(unplaced.map(branch => store.modify('branch', branch.name, saidUnplaced)));
}

const saidUnplaced = ({ status, generation }: Stored<'branch'>) =>
  status !== null
    ? undefined
    : {
        status: {
          state: 'creating' as const,
          reason: 'NoBranchNode',
          message: 'waits for a branch node: none has been heard of',
          conditions: [],
          observedGeneration: generation,
        },
      };
