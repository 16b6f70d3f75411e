import type { ErrorRow } from '../errors.ts';

export const volumeErrors = {} as const satisfies Record<string, ErrorRow>;
