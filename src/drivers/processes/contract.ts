/** The registry of all that we start, as drivers see it. Types only. */
import type { Controller, Limits } from '../../lib/cgroups.ts';
import type { ExecOptions, ExecResult } from '../../lib/exec.ts';
import type { Entrance, HeldProgram, Shells } from '../../lib/held.ts';
import type { ProcessId } from '../../lib/process.ts';
import type { Capability } from '../contract.ts';

/** A part is named `kind/…`, e.g. `postgres/ID`; a name means one thing that runs, with all that it starts. */
export type Processes = {
  /** What `hold` and `findPrivateMounts` need. */
  readonly shells: Shells;
  /** Whether parts have control groups, so that nothing of them can be lost sight of. */
  readonly grouped: boolean;
  /** Limits that are kept here. */
  readonly keeps: readonly Controller[];
  /**
   * Starts a part: held, recorded, let go. What an earlier one of that name has left is killed first.
   * @throws HeldVariableError; the system's error (with `code`) when it cannot be started
   */
  start(part: string, program: Program): Promise<Running>;
  /** The first half of `start`, for when there is something else to do meanwhile. */
  hold(part: string, program: Program): Promise<HeldPart>;
  /** Runs a short program to its end, as a part, and returns what it printed. @throws ExecError as `exec` */
  run(part: string, program: RunProgram, options?: RunOptions): Promise<ExecResult>;
  /** The same as a member of a part that runs: it counts into its limits, and ends with it. */
  runIn(part: string, program: RunProgram, options?: RunOptions): Promise<ExecResult>;
  /** The part, if its leader lives. */
  find(part: string): Running | undefined;
  /** The part `name`, and those whose names begin with it and a slash; also such as have ended, until `end` or `kill`. */
  list(name: string): readonly string[];
  /** Pids of all that is known to belong to a part. */
  members(part: string): Promise<readonly number[]>;
  /** Keeps words with a part that is there; resolves when they are there for the next daemon, too. @throws the system's error */
  note(part: string, notes: Notes): Promise<void>;
  notes(part: string): Notes;
  /**
   * Makes another member the leader of a part: one that was started by the first, and goes on when that has ended.
   * @returns undefined when it is no member
   */
  succeed(part: string, pid: number): Promise<Running | undefined>;
  /**
   * Ends a part: one signal after the other, each with its time, until the leader has ended, then the kill of
   * whatever is left. Returns when nothing is left.
   * @returns whether it ended without being killed
   */
  end(part: string, stages: readonly Stage[], options?: EndOptions): Promise<boolean>;
  /** Kills all of a part; returns when nothing is left. One that is not there is a success. */
  kill(part: string): Promise<void>;
  capabilities(): readonly Capability[];
  /** Stops watching; what runs goes on. */
  leave(): void;
  /** Kills what is left, and removes all groups. */
  close(): Promise<void>;
};

/** Process namespaces of parts: what runs in one sees and signals nothing else. */
export type Spaces = {
  /** Name of the part that holds that of `part`. */
  holder(part: string): string;
  /** Whether that of `part` is there. */
  has(part: string): boolean;
  /**
   * The way into that of `part`, which is made when there is none. @param place where it is apart from that; default: here
   * @throws the system's error, DeadlineError
   */
  enter(part: string, place?: Entrance): Promise<Entrance>;
  /** Kills all in it. One that is not there is a success. */
  end(part: string): Promise<void>;
};

export type Program = HeldProgram & {
  readonly limits?: Limits;
  /** It starts nothing, so it needs no group; and nobody waits for its end, which only the daemon that has started it hears of. */
  readonly alone?: boolean;
};

export type Notes = Readonly<Record<string, string>>;

export type Running = {
  /** The program itself, leader of a process group and a session of its own. */
  readonly leader: ProcessId;
  /** Resolves when the leader has ended; what it leaves behind is there until the part is ended. */
  readonly ended: Promise<Exit>;
};

/** Neither code nor signal: nobody knows, because an earlier daemon had started it. */
export type Exit = {
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
  /** The kernel has killed a process of the part for want of memory. */
  readonly outOfMemory: boolean;
};

export type HeldPart = {
  readonly leader: ProcessId;
  /** Writes the record, then lets it run. @param more further arguments, without line ends */
  go(more?: readonly string[], notes?: Notes): Running;
  /** Ends it before it has run. */
  drop(): Promise<void>;
};

export type RunProgram = Omit<Program, 'stdout' | 'stderr'>;
export type RunOptions = Pick<ExecOptions, 'deadlineMs' | 'maxOutput' | 'signal'>;

export type Stage = readonly [signal: NodeJS.Signals, graceMs: number];
export type EndOptions = {
  /** Who gets the signals: the leader, or its group (the default). */
  readonly to?: 'process' | 'group';
  readonly signal?: AbortSignal;
};
