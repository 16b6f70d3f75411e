/** Which branches a node holds: those of the projects that are placed on it. */
import type { Store, Stored } from '../store/contract.ts';

/** @param node undefined: there is only one, which holds all */
export const isHere = (store: Store, node: string | undefined, project: string): boolean =>
  node === undefined || store.get('project', project)?.spec.node === node;

/** The same, of all of them. */
export const branchesHere = (store: Store, node: string | undefined): readonly Stored<'branch'>[] =>
  node === undefined
    ? store.list('branch')
    : store.by('project/node', node).flatMap(({ name }) => store.by('branch/project', name));
