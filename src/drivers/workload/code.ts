/** The folder that a container runs from: what it needs first, and which changes of it mean another start. */
import type { Preparation, Runtime } from '../../model/image.ts';

export type CodePlan = {
  /** Absolute. */
  readonly folder: string;
  /** In their order. */
  readonly steps: readonly PreparationStep[];
  /** Of the image, for the steps. */
  readonly env?: Readonly<Record<string, string>>;
  readonly runtime?: Runtime;
  /** See ImageSpec. */
  readonly watch?: readonly string[];
  readonly reload?: 'app';
};

export type PreparationStep = Preparation & { readonly name: 'setup' | 'build' };

/** Of files whose change counts where nobody has said which: all that git would keep. */
export const allFiles: readonly string[] = ['**'];
