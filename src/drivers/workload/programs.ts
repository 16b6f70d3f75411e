/** Programs of an image that its entry in offshoot.yaml says what runs in the place of. */
import type { ImageSpec } from '../../model/image.ts';
import type { Probes } from './health.ts';
import type { Hook, Hooks } from './hook.ts';

/** A command of the manifest, as it runs here. */
export function commandHere(command: readonly string[], { programs = {} }: ImageSpec): readonly string[] {
  const [program = '', ...args] = command;
  return Object.hasOwn(programs, program) ? [...programs[program]!, ...args] : command;
}

/** The same for those of probes. */
export const probesHere = (probes: Probes, image: ImageSpec): Probes =>
  mapValues(probes, probe => ({ ...probe, check: hookHere(probe.check, image) }));

/** The same for those of hooks. */
export const hooksHere = (hooks: Hooks, image: ImageSpec): Hooks =>
  mapValues(hooks, hook => hookHere(hook, image));

// --- internal -----------------------------------------------------------------------------------

const hookHere = <H extends Hook>(hook: H, image: ImageSpec): H =>
  hook.kind === 'exec' ? { ...hook, command: commandHere(hook.command, image) } : hook;

const mapValues = <R extends object>(record: R, change: (value: NonNullable<R[keyof R]>) => unknown): R =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, value && change(value)])) as R;
