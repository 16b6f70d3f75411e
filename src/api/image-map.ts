/** `images` of a request: what an offshoot.yaml says, with paths that mean the same everywhere on this machine. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';

const preparation = z.strictObject({
  command: z.array(z.string()).min(1),
  inputs: z.array(z.string()).min(1).max(100).optional(),
  timeoutMs: z.number().int().positive().optional(),
});

export const imageMap = z.record(
  z.string(),
  z.strictObject({
    dir: z.string().refine(isAbsolute, 'must be an absolute path'),
    command: z.array(z.string()).min(1),
    args: z.array(z.string()).optional(),
    env: z.record(z.string(), z.string()).optional(),
    programs: z.record(z.string(), z.array(z.string()).min(1)).optional(),
    setup: preparation.optional(),
    build: preparation.optional(),
    runtime: z
      .strictObject({
        name: z.string(),
        folder: z.string().refine(isAbsolute, 'must be an absolute path').optional(),
      })
      .optional(),
    watch: z.array(z.string()).min(1).max(100).optional(),
    reload: z.literal('app').optional(),
  }),
);
