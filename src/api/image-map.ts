/** `images` and `migrate` of a request: what an offshoot.yaml says, with paths that mean the same everywhere on this machine. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';

const preparation = z.strictObject({
  command: z.array(z.string()).min(1),
  inputs: z.array(z.string()).min(1).max(100).optional(),
  timeoutMs: z.number().int().positive().optional(),
});

const path = z.string().refine(isAbsolute, 'must be an absolute path');
const runtime = z.strictObject({ name: z.string(), folder: path.optional() });
const variables = z.record(z.string(), z.string());

export const migration = z.strictObject({
  dir: path,
  command: z.array(z.string()).min(1),
  env: variables.optional(),
  setup: preparation.optional(),
  runtime: runtime.optional(),
  inputs: z.array(z.string()).min(1).max(100).optional(),
  timeoutMs: z.number().int().positive().optional(),
  project: z.string().min(1).optional(),
});

export const imageMap = z.record(
  z.string(),
  z.strictObject({
    dir: path,
    command: z.array(z.string()).min(1),
    args: z.array(z.string()).optional(),
    env: variables.optional(),
    programs: z.record(z.string(), z.array(z.string()).min(1)).optional(),
    setup: preparation.optional(),
    build: preparation.optional(),
    runtime: runtime.optional(),
    watch: z.array(z.string()).min(1).max(100).optional(),
    reload: z.literal('app').optional(),
  }),
);
