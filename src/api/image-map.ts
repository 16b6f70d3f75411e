/** `images` of a request: what an offshoot.yaml says, with paths that mean the same everywhere on this machine. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';

export const imageMap = z.record(
  z.string(),
  z.strictObject({
    dir: z.string().refine(isAbsolute, 'must be an absolute path'),
    command: z.array(z.string()).min(1),
    args: z.array(z.string()).optional(),
    env: z.record(z.string(), z.string()).optional(),
    programs: z.record(z.string(), z.array(z.string()).min(1)).optional(),
  }),
);
