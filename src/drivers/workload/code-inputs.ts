/** What the steps of a folder are made from, and what they have made: by content, or by how files are. */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { type FileState, fileSet, TooManyFilesError, walk } from '../../lib/file-set.ts';
import { repositoryOf } from '../../lib/git-ignore.ts';
import { allFiles, type CodePlan, type PreparationStep } from './code.ts';
import { StartProblem } from './start-problem.ts';

export type Inputs = { readonly digest: string; readonly files: ReadonlyMap<string, string> };

/** @throws StartProblem */
export async function inputsOf(plan: CodePlan, step: PreparationStep): Promise<Inputs> {
  if (step.name === 'setup' && step.inputs === undefined)
    return await contentsOf(await lockFiles(plan.folder));
  const set = fileSet(plan.folder, step.inputs ?? plan.watch ?? allFiles);
  const found = await walk(set).catch(error => {
    if (!(error instanceof TooManyFilesError)) throw error;
    throw failed(step, `${error.message}: name its inputs, e.g. inputs: ["src/**"]`);
  });
  // Git writes files anew that are what they were before.
  if (step.name === 'setup' || (step.name === 'migrate' && step.inputs !== undefined))
    return await contentsOf([...found.keys()]);
  return inputs(new Map([...found].map(([path, { state }]: [string, FileState]) => [path, state])));
}

/** The same of folders that stand elsewhere. */
export const relativeDigest = ({ folder }: CodePlan, { files }: Inputs): string =>
  hash([...files].map(([path, state]) => `${relative(folder, path)} ${state}`).toSorted());

/** @param madeFrom of what the steps before have made @returns what says that a step was done in a folder */
export const digestOf = (
  { database }: CodePlan,
  step: PreparationStep,
  madeFrom: string,
  { digest }: Inputs,
): string =>
  hash([
    ...[madeFrom, JSON.stringify(step), digest],
    ...(step.name === 'migrate' && database !== undefined ? [database.era] : []),
  ]);

export const hash = (parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex');

/** @param why a part of a sentence */
export const failed = ({ name }: PreparationStep, why: string): StartProblem =>
  new StartProblem(reasonsOf[name][1], `${name} failed: ${why}`);

/** Of a step that runs, and of one that has failed. */
export const reasonsOf: Readonly<Record<PreparationStep['name'], readonly [string, string]>> = {
  setup: ['SettingUp', 'SetupFailed'],
  build: ['Building', 'BuildFailed'],
  migrate: ['Migrating', 'MigrationFailed'],
};

/** A folder that was removed and made again is another one, of the same name. */
export async function identityOf({ folder }: CodePlan): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) throw new StartProblem('ConfigError', `the folder ${folder} does not exist`);
  return `${found.dev} ${found.ino} ${found.birthtimeMs}`;
}

/** Folders in a folder, by name, with what tells two of one name apart. */
export async function foldersOf(folder: string): Promise<ReadonlyMap<string, number>> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = entries
    .filter(entry => entry.isDirectory())
    .map(
      async ({ name }) => [name, (await stat(join(folder, name)).catch(() => undefined))?.ino ?? 0] as const,
    );
  return new Map(await Promise.all(found));
}

export async function areThere({ folder }: CodePlan, results: readonly string[]): Promise<boolean> {
  const there = await foldersOf(folder);
  return results.every(name => there.has(name));
}

// --- internal -----------------------------------------------------------------------------------

/** What package managers pin versions in; the first folder upwards that has one counts. */
const LOCK_FILES = [
  ...['package-lock.json', 'npm-shrinkwrap.json', 'yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb'],
  ...['requirements.txt', 'poetry.lock', 'uv.lock', 'Pipfile.lock', 'go.sum', 'Cargo.lock', 'Gemfile.lock'],
  ...['composer.lock', 'gradle.lockfile', 'mix.lock'],
];

/** A lock file is rarely above a few megabytes. */
const MOST_BYTES = 64 * 2 ** 20;

async function contentsOf(paths: readonly string[]): Promise<Inputs> {
  const read = paths.map(async path => {
    const { size } = await stat(path);
    const bytes = size > MOST_BYTES ? String(size) : await readFile(path);
    return [path, createHash('sha256').update(bytes).digest('hex')] as const;
  });
  return inputs(new Map(await Promise.all(read)));
}

const inputs = (files: ReadonlyMap<string, string>): Inputs => ({
  digest: hash([...files].sort(([a], [b]) => (a < b ? -1 : 1)).flat()),
  files,
});

async function lockFiles(folder: string): Promise<readonly string[]> {
  const top = repositoryOf(folder) ?? folder;
  for (let at = folder; ; at = dirname(at)) {
    const names = await readdir(at).catch((): string[] => []);
    const found = LOCK_FILES.filter(name => names.includes(name));
    if (found.length > 0 || at === top || dirname(at) === at) return found.map(name => join(at, name));
  }
}
