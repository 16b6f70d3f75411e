/** The project file of a folder: offshoot.yaml there, or in the next folder above that has one. */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { OffshootError } from '../model/errors.ts';
import { type ImageMap, programsOfRuntime, type Runtime } from '../model/image.ts';
import type { FolderCode } from '../model/migration.ts';
import type { OffshootConfig } from '../model/offshoot-config.ts';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';
import { readText } from './read-file.ts';

export type ProjectFile = {
  /** Absolute. */
  readonly file: string;
  /** Where it is; absolute, the real path. */
  readonly folder: string;
};

/**
 * @param path what is worked with: a file, a folder, or `-` for the working directory
 * @param config the project file, when it is not to be looked for
 */
export function findProjectFile({ cwd }: Cli, path: string, config?: string): ProjectFile | undefined {
  const start = path === '-' ? cwd : resolve(cwd, path);
  const file = config === undefined ? searchUpwards(start) : resolve(cwd, config);
  if (file === undefined) return undefined;
  if (!existsSync(file)) throw new UsageError(`cannot read ${file}: it does not exist`);
  return { file, folder: realpathSync(dirname(file)) };
}

/** What the daemon has to know of the folder's code. */
export const codeOf = ({ images, migrate }: OffshootConfig): FolderCode => ({
  images,
  ...(migrate && { migrate }),
});

/** How images run; see `readProject`. */
export async function readImages(cli: Cli, project: ProjectFile): Promise<ImageMap> {
  return (await readProject(cli, project)).images;
}

/** What `readProject` needs: who has something to wait for before it loads this meanwhile. */
export const projectReader = async () => ({
  ...(await import('../model/document/yaml.ts')),
  ...(await import('../model/offshoot-config.ts')),
});

/**
 * The whole file, with the runtimes that are on the PATH of whoever asks: the daemon's may be another one.
 * @throws UsageError, OffshootError document/invalid, workload/config-bad, workload/runtime-missing
 */
export async function readProject(cli: Cli, { file }: ProjectFile): Promise<OffshootConfig> {
  const { readDocument, parseOffshootConfig } = await projectReader();
  const text = readText(file, file);
  const { value, locate } = readDocument({ file, text });
  const { images, environment, migrate } = parseOffshootConfig(value, file, { text, locate });
  const found = Object.entries(images).map(async ([key, spec]) => [
    key,
    await withRuntime(cli, `of image "${key}"`, spec),
  ]);
  return {
    images: Object.fromEntries(await Promise.all(found)),
    ...(environment && { environment }),
    ...(migrate && { migrate: await withRuntime(cli, 'of its migrations', migrate) }),
  };
}

/** A folder that an option names, also by its project file; `-` is that of what came from nowhere. */
export function folderNamed({ cwd }: Cli, folder: string): string {
  if (folder === '-') return folder;
  const path = resolve(cwd, folder);
  const named = path.endsWith('/offshoot.yaml') ? dirname(path) : path;
  return existsSync(named) ? realpathSync(named) : named;
}

// --- internal -----------------------------------------------------------------------------------

async function withRuntime<T extends { readonly runtime?: Runtime }>(
  { cwd, env }: Cli,
  whose: string,
  spec: T,
): Promise<T> {
  const { name } = spec.runtime ?? {};
  if (name === undefined) return spec;
  const { findProgram } = await import('../lib/find-program.ts');
  const path = env.PATH ?? '';
  for (const program of programsOfRuntime(name)) {
    const found = await findProgram(program, path, cwd);
    if (found !== undefined) return { ...spec, runtime: { name, folder: dirname(found) } };
  }
  throw new OffshootError('workload/runtime-missing', { runtime: name, whose, path });
}

function searchUpwards(start: string): string | undefined {
  for (let dir = start; ; dir = dirname(dir)) {
    const file = resolve(dir, 'offshoot.yaml');
    if (existsSync(file)) return file;
    if (dirname(dir) === dir) return undefined;
  }
}
