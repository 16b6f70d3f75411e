/** Which branches there are, and from which the next step may grow. Counts what is being made, so that workers agree at once. */
import type { Chance } from '../../test/support/random.ts';
import type { Workflow } from './workflows.ts';

export type Node = {
  readonly name: string;
  readonly depth: number;
  /** Steps whose work it holds, its own last. */
  readonly path: readonly string[];
  children: number;
};

export type Tree = {
  /** Another for each call: its child counts from now on. */
  grow(step: string, dice: Chance): { readonly parent: Node; readonly child: Node };
  /** `child` is there: others may grow from it. */
  grown(child: Node): void;
  /** `child` is to go, or was never made. @returns false when something grows from it: it stays */
  cut(child: Node, parent: Node): boolean;
  /** What is there without children, but for the root. */
  leaves(): readonly Node[];
  size(): number;
};

export function treeOf({ fanOut, depth }: Pick<Workflow, 'fanOut' | 'depth'>): Tree {
  const root: Node = { name: 'main', depth: 0, path: [], children: 0 };
  const nodes = new Set([root]);
  const hasRoom = (node: Node) =>
    node.depth < depth && node.children < (node === root ? fanOut.root : fanOut.inner);
  return {
    grow(step, dice) {
      const open = [...nodes].filter(hasRoom);
      const parent = open.length > 0 ? dice.pick(open) : root;
      parent.children++;
      const name = `step-${step.replaceAll('_', '-')}`;
      return { parent, child: { name, depth: parent.depth + 1, path: [...parent.path, step], children: 0 } };
    },
    grown: child => void nodes.add(child),
    cut(child, parent) {
      if (child.children > 0) return false;
      nodes.delete(child);
      parent.children--;
      return true;
    },
    leaves: () => [...nodes].filter(node => node !== root && node.children === 0),
    size: () => nodes.size,
  };
}
