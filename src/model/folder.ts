/** Where a baseline comes from: folders of manifests, which own namespaces and say how their images run. */
import type { ImageMap } from './image.ts';

/** The folder of what was deployed without a word of where it came from. No path is like it. */
export const nowhere = '-';

export type FolderSpec = {
  /** Of its offshoot.yaml, as it was when something of the folder was deployed last. */
  readonly images: ImageMap;
};

export type FolderStatus = {
  /** What was said already of its manifests, as digests; see `rules/warnings.ts`. */
  readonly told: readonly string[];
};

/** Where a manifest came from. */
export type Origin = {
  readonly folder: string;
  /** Absolute path of the file, or of the folder that was rendered; `-` for standard input. */
  readonly file: string;
};

/** Whether `path` is `folder`, or lies in it. Both absolute, without a slash at the end. */
export const isInside = (folder: string, path: string): boolean =>
  path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
