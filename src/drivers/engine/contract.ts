/** Containers of a Docker-compatible engine on this machine, as drivers see them. Types only. */
import type { Limits } from '../../lib/cgroups.ts';
import type { Capability } from '../contract.ts';
import type { Exit, Running, Stage } from '../processes/contract.ts';

/** A part is named as in `processes/contract.ts`; one name means one container, be it of an earlier daemon. */
export type Engine = {
  /** The engine that answers now. */
  current(): FoundEngine | undefined;
  /** The last one that answered, be it to an earlier daemon: images without an entry are its. */
  last(): FoundEngine | undefined;
  /** Why none answers, as a sentence about what was tried; undefined while one does. */
  away(): string | undefined;
  /** Resolves as soon as one answers. @throws the signal's reason */
  whenThere(signal: AbortSignal): Promise<FoundEngine>;
  /** Resolves when it is known whether there is one at first. */
  readonly looked: Promise<void>;
  /** Calls `listener` when one has been found, has gone, or is back. @returns the way to stop that */
  onChange(listener: () => void): () => void;
  /** The container of a part, if its program lives. Needs no engine. */
  find(part: string): Running | undefined;
  /** How that of a part ended that is on record; undefined: it is on no record. Waits for an engine. @throws the signal's reason */
  endOf(part: string, signal: AbortSignal): Promise<Exit | undefined>;
  /** The part `name`, and those whose names begin with it and a slash; also such as have ended. */
  list(name: string): readonly string[];
  /**
   * Pulls the image where that is wanted, makes a container, records it, starts it. What an earlier one of that name has
   * left is removed first. Waits for an engine.
   * @param tell called with why it takes long
   * @throws EngineProblem; the signal's reason, and then nothing was started
   */
  start(
    part: string,
    wish: ContainerWish,
    signal: AbortSignal,
    tell?: (news: News) => void,
  ): Promise<Running>;
  /** Runs a short program in it, and returns what it printed. While no engine answers, it waits. @throws ExecError */
  exec(part: string, argv: readonly string[], deadlineMs: number, signal: AbortSignal): Promise<string>;
  /** Asks it to end, by the first signal its image's own if that names one, then kills and removes it. */
  end(part: string, stages: readonly Stage[]): Promise<void>;
  /** Kills and removes it. While no engine answers, its program is killed, and the rest follows. */
  kill(part: string): Promise<void>;
  capabilities(): readonly Capability[];
  /** Stops watching; what runs goes on. */
  leave(): void;
  /** Removes all that is left. */
  close(): Promise<void>;
};

export type FoundEngine = {
  /** e.g. `Podman 4.3.1` */
  readonly title: string;
  readonly socket: string;
  /** Its containers can be in networks of pods. */
  readonly joinsNetworks: boolean;
  /** They get there by a door; see door.ts. */
  readonly byDoors?: true;
};

/** e.g. `Pulling`, and a sentence. */
export type News = { readonly reason: string; readonly message: string };

export type ContainerWish = {
  readonly image: string;
  readonly pull: PullPolicy;
  /** Replaces the image's entry point and arguments. */
  readonly command?: readonly string[];
  /** Replaces the image's arguments. */
  readonly args?: readonly string[];
  readonly workingDir?: string;
  /** `uid` or `uid:gid`; default: the image's. */
  readonly user?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: readonly {
    readonly source: string;
    readonly target: string;
    readonly readOnly: boolean;
  }[];
  /** Path of a network namespace, or `container:ID`; absent: that of this machine. */
  readonly network?: string;
  readonly hostname?: string;
  /** It sees the processes of this machine. */
  readonly hostPID?: boolean;
  readonly privileged?: boolean;
  readonly readOnlyRoot?: boolean;
  readonly capabilities?: { readonly add: readonly string[]; readonly drop: readonly string[] };
  readonly limits?: Limits;
  /** What it says is added to this file. */
  readonly logFile: string;
};

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** Why a container could not be started, in the words of a kubelet, e.g. ErrImagePull, CommandNotFound, StartFailed. */
export class EngineProblem extends Error {
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.name = 'EngineProblem';
    this.reason = reason;
  }
}
