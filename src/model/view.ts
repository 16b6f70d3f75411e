/** What clients get to see of each kind: the API's answers, and so the command line's `-o json`. Never a secret. */
import type { BranchState } from './branch.ts';
import type { Condition } from './conditions.ts';
import type { PluginSpec } from './plugin.ts';
import type { Address } from './route.ts';
import type { SandboxSpec, SandboxStatus } from './sandbox.ts';

export type ProjectView = {
  readonly name: string;
  readonly database: string;
  readonly role: string;
  readonly branches: number;
  readonly createdAt: string;
};

export type BranchView = {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  /** Name of the parent; null for the root. */
  readonly parent: string | null;
  /** `sandbox/NAME`, or null. */
  readonly owner: string | null;
  readonly state: BranchState;
  readonly reason: string;
  readonly message: string;
  readonly hint?: string;
  readonly conditions: readonly Condition[];
  readonly createdAt: string;
};

export type SandboxView = {
  readonly name: string;
  readonly spec: SandboxSpec;
  readonly routingKey: string;
  readonly endpoints: SandboxStatus['endpoints'];
  readonly status: Omit<SandboxStatus, 'endpoints'>;
  readonly generation: number;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly deletedAt?: string;
};

export type PluginView = {
  /** `bare@version` */
  readonly name: string;
  readonly spec: PluginSpec;
  readonly status: { readonly resources: readonly { readonly name: string; readonly sandbox: string }[] };
  readonly createdAt: string;
  readonly updatedAt: string;
};

export type ManifestView = {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly ready: boolean;
  readonly reason: string;
  readonly message: string;
  readonly restarts?: number;
  /** Services: where the baseline answers. */
  readonly addresses?: Readonly<Record<number, Address>>;
  readonly log?: readonly string[];
  readonly generation: number;
  readonly observedGeneration: number;
  readonly deletedAt?: string;
};

export type EventView = {
  readonly at: string;
  readonly kind: string;
  readonly name: string;
  readonly severity: 'info' | 'warning';
  readonly reason: string;
  readonly message: string;
};
