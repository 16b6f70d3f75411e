/** What passes between the one who makes a step's pod and the container in it that reads the outputs. */
import type { ErrorParams } from './errors.ts';
import type { StepOutput } from './plugin.ts';

export type OutputPlan = {
  readonly step: string;
  /** `file`: where that container sees it. */
  readonly outputs: readonly (StepOutput & { readonly file: string })[];
};

export type CollectedOutputs = {
  /** Those that are as they should be. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Of the first that is not: an error of model/errors. */
  readonly failure?: { readonly code: string; readonly params: ErrorParams };
};
