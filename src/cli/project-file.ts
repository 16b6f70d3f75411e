/** The project file of a folder: offshoot.yaml there, or in the next folder above that has one. */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { ImageMap } from '../model/image.ts';
import type { Cli } from './context.ts';
import { readText } from './read-file.ts';

export type ProjectFile = {
  /** Where it is; absolute, the real path. */
  readonly folder: string;
  readonly images: ImageMap;
};

/**
 * @param path what is worked with: a file, a folder, or `-` for the working directory
 * @param config the project file, when it is not to be looked for
 * @throws UsageError, OffshootError document/invalid, workload/config-bad
 */
export async function readProjectFile(
  cli: Cli,
  path: string,
  config?: string,
): Promise<ProjectFile | undefined> {
  const start = path === '-' ? cli.cwd : resolve(cli.cwd, path);
  const file = config === undefined ? searchUpwards(start) : resolve(cli.cwd, config);
  if (file === undefined) return undefined;
  const { readDocument } = await import('../model/document/yaml.ts');
  const { parseOffshootConfig } = await import('../model/offshoot-config.ts');
  const { value } = readDocument({ file, text: readText(file, file) });
  return { folder: realpathSync(dirname(file)), images: parseOffshootConfig(value, file).images };
}

/** A folder that an option names, also by its project file; `-` is that of what came from nowhere. */
export function folderNamed({ cwd }: Cli, folder: string): string {
  if (folder === '-') return folder;
  const path = resolve(cwd, folder);
  const named = path.endsWith('/offshoot.yaml') ? dirname(path) : path;
  return existsSync(named) ? realpathSync(named) : named;
}

// --- internal -----------------------------------------------------------------------------------

function searchUpwards(start: string): string | undefined {
  for (let dir = start; ; dir = dirname(dir)) {
    const file = resolve(dir, 'offshoot.yaml');
    if (existsSync(file)) return file;
    if (dirname(dir) === dir) return undefined;
  }
}
