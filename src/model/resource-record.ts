/**
 * What a sandbox's resource has been through: the journal that makes plugin workflows resumable after a
 * crash and undoable after a failure. Written before a step starts and after it ends. Holds outputs, hence
 * secrets: it is stored with the intent and never shown.
 */
import type { ErrorCode } from './errors.ts';

export type StepRecord = {
  readonly state: 'running' | 'succeeded' | 'failed';
  readonly outputs?: Readonly<Record<string, string>>;
  /** Last lines of the output of one that ended well. */
  readonly said?: readonly string[];
  readonly startedAt: string;
  /** Milliseconds, once it ended. */
  readonly ms?: number;
};

export type ResourcePhase =
  /** Create steps run, or are to run. */
  | 'creating'
  | 'created'
  /** A create step failed; the delete steps undo what was made. */
  | 'undoing'
  /** Undone; waits for another try or a changed document. */
  | 'failed'
  /** The sandbox goes; the delete steps run. */
  | 'deleting'
  | 'deleted';

export type ResourceRecord = {
  /** Name with version, as resolved when the sandbox was created. */
  readonly plugin: string;
  readonly phase: ResourcePhase;
  readonly create: Readonly<Record<string, StepRecord>>;
  readonly delete: Readonly<Record<string, StepRecord>>;
  readonly failure?: {
    readonly step: string;
    readonly code: ErrorCode;
    readonly message: string;
    readonly hint?: string;
    readonly output?: readonly string[];
    readonly retry: boolean;
    /** Of the sandbox, when it failed: later ones are a reason to try again. */
    readonly generation: number;
    readonly tries?: number;
  };
};

export const newResourceRecord = (plugin: string): ResourceRecord => ({
  plugin,
  phase: 'creating',
  create: {},
  delete: {},
});
