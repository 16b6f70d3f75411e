/** The body of `PUT /manifests`: texts of files, and what is to be done with the objects in them. */
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { label } from '../model/document/fields.ts';
import { type Manifests, readManifestFiles } from '../model/document/manifest.ts';
import type { Kept } from '../model/document/manifest-warnings.ts';
import { OffshootError } from '../model/errors.ts';
import { nowhere } from '../model/folder.ts';
import { imageMap } from './image-map.ts';
import { checked, parseJson } from './input.ts';

const body = z.strictObject({
  /** Texts as they stand in the files, so that problems have lines and columns. */
  files: z
    .array(
      z.strictObject({
        /** As problems name it. */
        file: z.string(),
        text: z.string(),
        /** Absolute, or `-`; default: unknown. */
        path: z.string().default(''),
        /** It was not named but found in a folder, where files that hold no objects may be, too. */
        found: z.boolean().default(false),
      }),
    )
    .min(1)
    .max(10_000),
  /** Of objects that name none. */
  namespace: label.optional(),
  /** Whose they are: an absolute path. */
  folder: z
    .string()
    .refine(path => path === nowhere || isAbsolute(path), 'must be an absolute path')
    .default(nowhere),
  images: imageMap.default({}),
  takeOver: z.boolean().default(false),
  /** Remove what came from these files and folders before, and does not now. */
  prune: z
    .strictObject({ paths: z.array(z.string()).min(1), recursive: z.boolean().default(false) })
    .optional(),
  /** Only say what would be done. */
  dryRun: z.boolean().default(false),
  /** Refuse what would be left out. */
  strict: z.boolean().default(false),
});

/** Plain data: it may come from another thread. */
export type ManifestRequest = Omit<z.infer<typeof body>, 'files'> & {
  /** `files`: the path of each. */
  readonly read: Manifests;
};

/**
 * @param bytes JSON
 * @throws OffshootError api/bad-request, document/*, manifest/none
 */
export function readManifestRequest(bytes: Uint8Array, keeps: readonly Kept[]): ManifestRequest {
  const { files, ...request } = checked(
    body,
    bytes.length === 0 ? undefined : parseJson(new TextDecoder().decode(bytes)),
  );
  const read = readManifestFiles(files, {
    ...{ strict: request.strict, keeps },
    ...(request.namespace !== undefined && { namespace: request.namespace }),
  });
  if (read.manifests.length === 0 && read.leftOut.every(({ effect }) => effect === 'no-object'))
    throw new OffshootError('manifest/none', { where: listed(files.map(({ file }) => file)) });
  const paths = new Map(files.map(({ file, path }) => [file, path]));
  return { ...request, read: { ...read, files: read.files.map(file => paths.get(file)!) } };
}

// --- internal -----------------------------------------------------------------------------------

const named = 3;

const listed = (files: readonly string[]): string => {
  const more = files.length - named;
  return more > 1 ? `${files.slice(0, named).join(', ')} and ${more} others` : files.join(', ');
};
