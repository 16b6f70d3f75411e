import type { ErrorRow } from '../errors.ts';

export const gatewayErrors = {} as const satisfies Record<string, ErrorRow>;
