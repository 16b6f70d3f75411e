/**
 * `setup` that need not be done, because what it makes was copied from a folder in which the same was done: dependencies of a worktree
 * (docs/environments.md, `copy`). Nobody tells us of the copy; it is known by what it is.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isCopy, writtenSince } from '../../lib/same-tree.ts';
import type { CodePlan, PreparationStep } from './code.ts';
import {
  areThere,
  digestOf,
  hash,
  type Inputs,
  identityOf,
  inputsOf,
  relativeDigest,
} from './code-inputs.ts';
import { allStamps, type Stamp } from './stamps.ts';

/** What is on record so that copies of the folder are known. @param since when it began, in milliseconds since 1970 */
export async function copiesOf(
  plan: CodePlan,
  step: PreparationStep,
  inputs: Inputs,
  { results, since }: { readonly results: readonly string[]; readonly since: number },
): Promise<Stamp['copies']> {
  const wish = step.name === 'setup' ? wishOf(plan, step, inputs) : undefined;
  if (wish === undefined || results.length === 0) return undefined;
  const paths = await writtenSince(plan.folder, since - CLOCK_MS, results);
  if (paths === undefined) return undefined;
  const beside = await Promise.all(
    paths.map(async path => [path, await contentOf(join(plan.folder, path))] as const),
  );
  return { folder: plan.folder, wish, beside: Object.fromEntries(beside) };
}

/**
 * Looks for a folder in which the step is done, and of whose results those of this one are a copy.
 * @param root of all stamps
 * @returns what it has made there; undefined: there is none
 */
export async function doneElsewhere(
  root: string,
  plan: CodePlan,
  step: PreparationStep,
  inputs: Inputs,
): Promise<(Stamp['copies'] & Pick<Stamp, 'results'>) | undefined> {
  const wish = step.name === 'setup' ? wishOf(plan, step, inputs) : undefined;
  if (wish === undefined) return undefined;
  for (const { setup } of await allStamps(root)) {
    const { copies, results = [] } = setup ?? {};
    if (copies?.wish !== wish || copies.folder === plan.folder) continue;
    if (await isDoneBy(setup!, plan, step).catch(() => false)) return { ...copies, results };
  }
  return undefined;
}

// --- internal -----------------------------------------------------------------------------------

/** Times of files are those of the last tick of the kernel, at most 10 ms ago. */
const CLOCK_MS = 20;

/** undefined: what is above the folder counts as well, and may be what the step writes. */
function wishOf(plan: CodePlan, step: PreparationStep, inputs: Inputs): string | undefined {
  const { folder, env, runtime } = plan;
  if (inputs.files.size === 0) return undefined; // it may depend on anything
  if (![...inputs.files.keys()].every(path => path.startsWith(`${folder}/`))) return undefined;
  return hash([JSON.stringify([step, env ?? {}, runtime ?? null]), relativeDigest(plan, inputs)]);
}

async function isDoneBy(
  { digest, results, copies }: Stamp,
  plan: CodePlan,
  step: PreparationStep,
): Promise<boolean> {
  const other: CodePlan = { ...plan, folder: copies!.folder };
  if (digestOf(other, step, await identityOf(other), await inputsOf(other, step)) !== digest) return false;
  if (!(await areThere(plan, results)) || !(await areThere(other, results))) return false;
  for (const [path, content] of Object.entries(copies!.beside))
    if ((await contentOf(join(plan.folder, path))) !== content) return false;
  for (const name of results)
    if (!(await isCopy(join(other.folder, name), join(plan.folder, name), other.folder))) return false;
  return true;
}

const contentOf = async (file: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(file).catch(() => 'there is no such file'))
    .digest('hex');
