/** The folder that a container, or a migration, runs from: what it needs first, and which changes of it mean another start. */
import type { ImageSpec, Preparation, Runtime } from '../../model/image.ts';

export type CodePlan = {
  /** Absolute. */
  readonly folder: string;
  /** In their order. */
  readonly steps: readonly PreparationStep[];
  /** Of the image, for the steps. */
  readonly env?: Readonly<Record<string, string>>;
  /** What its migration is for. */
  readonly database?: Database;
  readonly runtime?: Runtime;
  /** See ImageSpec. */
  readonly watch?: readonly string[];
  readonly reload?: 'app';
};

export type Database = {
  /** No two have the same. */
  readonly id: string;
  /** Another one whenever it has begun anew. */
  readonly era: string;
  /** How it is found: secrets, which no record holds. */
  readonly variables: Readonly<Record<string, string>>;
};

export type PreparationStep = Preparation & { readonly name: 'setup' | 'build' | 'migrate' };

/** What an image needs of its folder. */
export function codeOf({ dir, setup, build, runtime, env, watch, reload }: ImageSpec): CodePlan {
  const steps = (['setup', 'build'] as const).flatMap(name => {
    const step = { setup, build }[name];
    return step === undefined ? [] : [{ name, ...step }];
  });
  const more = { ...(runtime && { runtime }), ...(watch && { watch }), ...(reload && { reload }) };
  return { folder: dir, steps, ...(steps.length > 0 && { env: env ?? {} }), ...more };
}

/** Of files whose change counts where nobody has said which: all that git would keep. */
export const allFiles: readonly string[] = ['**'];
