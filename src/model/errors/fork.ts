import type { ErrorRow } from '../errors.ts';

export const forkErrors = {} as const satisfies Record<string, ErrorRow>;
