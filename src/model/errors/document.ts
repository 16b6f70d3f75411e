import type { ErrorRow } from '../errors.ts';

export const documentErrors = {} as const satisfies Record<string, ErrorRow>;
