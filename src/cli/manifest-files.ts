/** What `deploy` and `undeploy` are given: files, folders, standard input, or folders that Kustomize renders. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Problem } from '../model/document/problem.ts';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { readKustomization } from './kustomize.ts';
import { say, UsageError } from './output.ts';
import { findProjectFile, type ProjectFile } from './project-file.ts';
import { isPipe, readSources, type SourceFile } from './read-file.ts';

export type ManifestOptions = {
  readonly filename?: readonly string[];
  readonly kustomize?: string;
  readonly recursive?: boolean;
  readonly config?: string;
};

export type ManifestFiles = {
  readonly files: readonly SourceFile[];
  /** Whose they are; absolute. */
  readonly folder: string;
  readonly project: ProjectFile | undefined;
  /** What was named, absolute, with what `prune` and `undeploy` take for theirs. */
  readonly scope: { readonly paths: readonly string[]; readonly recursive: boolean };
};

export const withManifests = (command: Command): Command =>
  command
    .option(
      '-f, --filename <path>',
      'a manifest, a folder of them, or - for standard input; may be repeated',
      collect,
    )
    .option('-k, --kustomize <folder>', 'a folder that the installed kustomize or kubectl renders')
    .option('-R, --recursive', 'with -f: also the folders below');

export async function readManifestsGiven(cli: Cli, options: ManifestOptions): Promise<ManifestFiles> {
  const { filename = [], kustomize, recursive = false, config } = options;
  const url = filename.find(path => /^https?:\/\//.test(path));
  if (url !== undefined)
    throw new UsageError(`${url} is not read from here; pipe it: curl -fsSL ${url} | offshoot deploy -f -`);
  if ((filename.length === 0) === (kustomize === undefined))
    throw new UsageError('name a file or folder with -f, or a folder of Kustomize with -k');
  const files: SourceFile[] = [];
  if (kustomize !== undefined) files.push(await readKustomization(cli, kustomize));
  for (const path of filename) files.push(...(await readSources(cli, path, { recursive, maxInput })));
  const named = filename.map(path => (isPipe(resolve(cli.cwd, path)) ? '-' : path));
  const first = kustomize ?? named[0]!;
  const project = findProjectFile(cli, first, config);
  const paths = [...named, ...(kustomize === undefined ? [] : [kustomize])].map(path =>
    path === '-' ? path : realpathSync(resolve(cli.cwd, path)),
  );
  return { files, folder: project?.folder ?? folderOf(cli, first), project, scope: { paths, recursive } };
}

/** Templates, and patches beside a kustomization.yaml, are no manifests: whoever deploys them as they are, is told. */
export function sayWhatRenders(
  cli: Cli,
  { filename = [] }: ManifestOptions,
  files: readonly SourceFile[],
  error: unknown,
): void {
  if (!(error instanceof OffshootError) || error.code !== 'document/invalid') return;
  const problems = (error.problems ?? []) as readonly Problem[];
  const template = files.find(
    ({ file, text }) => /\{\{-?\s*[\w.$(/]/.test(text) && problems.some(problem => problem.file === file),
  );
  if (template !== undefined)
    say(
      cli,
      `note: ${template.file} holds {{ … }}, as templates do: "helm template CHART | offshoot deploy -f -" renders it first`,
    );
  const folders = new Set([...filename, ...problems.map(({ file }) => dirname(file))]);
  for (const folder of [...folders].filter(folder => hasKustomization(resolve(cli.cwd, folder))).slice(0, 3))
    say(cli, `note: ${folder} has a kustomization.yaml; "offshoot deploy -k ${folder}" renders it first`);
}

// --- internal -----------------------------------------------------------------------------------

/** The names that Kustomize looks for. */
const hasKustomization = (folder: string): boolean =>
  ['kustomization.yaml', 'kustomization.yml', 'Kustomization'].some(name => existsSync(join(folder, name)));

/** Bytes of standard input. */
const maxInput = 64 * 1024 * 1024;

/** Without a project file they belong to the folder that holds them. */
function folderOf({ cwd }: Cli, path: string): string {
  if (path === '-') return realpathSync(cwd);
  const full = realpathSync(resolve(cwd, path));
  return statSync(full).isDirectory() ? full : dirname(full);
}

const collect = (value: string, all: readonly string[] = []): readonly string[] => [...all, value];
