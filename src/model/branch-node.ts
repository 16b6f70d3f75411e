/** What a node of branches says of itself where there may be several. Plain data, because it travels. */
import type { Room } from './room.ts';
import type { NodeDoor } from './route.ts';

export type BranchNodeState = {
  readonly name: string;
  readonly door: NodeDoor;
  readonly version: string;
  /** How new branches are made there, and why so. */
  readonly volumes: { readonly driver: string; readonly copyOnWrite: boolean; readonly why: string };
  /** As of its last word. */
  readonly room: Room;
};
