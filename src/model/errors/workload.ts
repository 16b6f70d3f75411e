import type { ErrorRow } from '../errors.ts';

/** Workloads of the process runtime, and plugin steps. */
export const workloadErrors = {} as const satisfies Record<string, ErrorRow>;
