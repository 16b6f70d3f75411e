/** What all workloads of one process runtime share. */
import type { Log } from '../../lib/log.ts';
import type { LogRotation } from '../../lib/log-rotation.ts';
import type { PrivateMounts } from '../../lib/namespaces.ts';
import type { Engine } from '../engine/contract.ts';
import type { Networks } from '../network/contract.ts';
import type { Processes, Running, Spaces } from '../processes/contract.ts';
import type { CodeWatch } from './code-watch.ts';
import type { Disks } from './disks.ts';
import type { PortChooser } from './ports.ts';
import type { Preparing } from './preparing.ts';
import type { MountPlan } from './volume-plan.ts';

export type House = {
  /** Whose processes these are, for people who look at their environment. */
  readonly instance: string;
  readonly processes: Processes;
  readonly engine: Engine;
  /** What runs of both. */
  readonly parts: Parts;
  /** All of the daemon's environment that a workload may see. */
  readonly baseEnv: Readonly<Record<string, string>>;
  /** The node that `node` means in a command. */
  readonly nodePath: string;
  /** Absent where the machine does not allow private mounts; then services have no names, only variables. */
  readonly mounts: PrivateMounts | undefined;
  /** Absent where pods share the network of this machine; then their ports are chosen. */
  readonly networks: Networks | undefined;
  /** Absent where the machine does not allow process namespaces; then programs see all processes of the machine. */
  readonly spaces: Spaces | undefined;
  readonly disks: Disks;
  /** An empty folder, which stands in for folders of ours that no container has to see. */
  readonly nothing: string;
  /** Those folders, as far as they are there for a container with these mounts. Absolute paths. */
  hidden(mounts: readonly MountPlan[]): readonly string[];
  readonly ports: PortChooser;
  /** Of all logs of all workloads, also of pods that have ended, and of steps. */
  readonly rotation: LogRotation;
  /** `setup` and `build` of folders. */
  readonly preparing: Preparing;
  /** Whose code changes. */
  readonly code: CodeWatch;
  readonly log: Log;
  /** Called whenever what is seen of a workload may have changed. */
  changed(id: string): void;
};

/** Processes and containers under the names of their parts, of which each has one or the other. */
export type Parts = {
  find(part: string): Running | undefined;
  list(name: string): readonly string[];
  kill(part: string): Promise<void>;
};

export const partsOf = (processes: Processes, engine: Engine): Parts => ({
  find: part => processes.find(part) ?? engine.find(part),
  list: name => [...processes.list(name), ...engine.list(name)],
  async kill(part) {
    await Promise.all([processes.kill(part), engine.kill(part)]);
  },
});
