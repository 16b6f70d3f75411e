/** What an image runs by on this machine. */
import type { ImageMap, ImageSpec } from '../model/image.ts';
import { findImage } from '../model/offshoot-config.ts';
import type { FoundEngine } from './engine/contract.ts';

export type ImageRunner =
  | { readonly entry: ImageSpec }
  | { readonly engine: FoundEngine }
  | { readonly why: string };

/**
 * An entry says that it is a program of a folder; without one it is a container, where there is an engine. Nothing else
 * decides this, for containers of pods and for steps.
 * @param engine the one that there is, or was; `why`: there is none
 */
export function runnerOf(
  images: ImageMap,
  image: string,
  engine: FoundEngine | { readonly why: string },
): ImageRunner {
  const entry = findImage(images, image);
  if (entry !== undefined) return { entry };
  return 'why' in engine ? engine : { engine };
}
