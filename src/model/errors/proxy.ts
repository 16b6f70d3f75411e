import type { ErrorRow } from '../errors.ts';

export const proxyErrors = {} as const satisfies Record<string, ErrorRow>;
