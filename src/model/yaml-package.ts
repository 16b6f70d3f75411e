/**
 * The package that reads YAML, loaded when it is first used: it takes 50 ms of processor time, and neither a daemon that
 * starts nor most commands read any.
 */
import { createRequire } from 'node:module';
import type * as Yaml from './yaml-used.ts';

let loaded: typeof Yaml | undefined;

export const yaml = (): typeof Yaml => (loaded ??= createRequire(import.meta.url)(name) as typeof Yaml);

// --- internal -----------------------------------------------------------------------------------

/** A bundle has it beside itself. */
const name = import.meta.url.endsWith('.ts') ? './yaml-used.ts' : './yaml-used.cjs';
