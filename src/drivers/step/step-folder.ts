/** The files of one step while it runs, and what its paths mean on our side. */
import { chmod, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { HeldProgram } from '../../lib/held.ts';
import type { Bind, PrivateMounts } from '../../lib/namespaces.ts';
import { makeShadows } from '../../lib/shadow.ts';
import type { StepSpec } from '../contract.ts';
import { needsShadow } from './paths.ts';

export type StepFolder = AsyncDisposable & {
  readonly script: string;
  readonly work: string;
  readonly output: string;
  /** What the script finds in TMPDIR. */
  readonly tmpdir: string;
  /** Where we find what the script calls `path`, one of those that it declares. */
  locate(path: string): string;
  /** What makes the /tmp of this folder, and the places of what is declared elsewhere, the script's own. */
  readonly mounts: HeldProgram['mounts'];
};

/**
 * Makes the folder, its script and its working directory. The paths that the step declares have been checked.
 * @param keep directories that stay visible when /tmp is private
 * @param mounts absent: the step shares /tmp with all others, and what it declares there is removed before and after
 */
export async function openStepFolder(
  root: string,
  spec: StepSpec,
  keep: readonly string[],
  mounts: PrivateMounts | undefined,
): Promise<StepFolder> {
  const work = join(root, 'work');
  const tmp = join(root, 'tmp');
  await mkdir(work, { recursive: true, mode: 0o700 });
  await chmod(root, 0o700);
  await mkdir(tmp);
  await chmod(tmp, 0o1777); // as /tmp is: the script may change its user
  await writeFile(join(root, 'script'), spec.script, { mode: 0o700 });

  const kept = mounts === undefined ? ['/tmp'] : await below('/tmp', [...keep, root]);
  const binds: Bind[] = [];
  if (mounts !== undefined) {
    for (const source of kept) {
      const target = join(tmp, source.slice('/tmp'.length));
      await mkdir(target, { recursive: true });
      binds.push({ source, target });
    }
    binds.push({ source: tmp, target: '/tmp' });
  }

  const declared = [
    ...spec.inputs.map(input => input.as?.path),
    ...spec.outputs.map(output => output.valueFromPath),
  ].filter(path => path !== undefined);
  const shadows = await makeShadows(declared.filter(needsShadow), join(root, 'shadow'));
  binds.push(...shadows.binds);

  const locate = (path: string): string => {
    const absolute = resolve(work, path);
    if (needsShadow(path)) return shadows.locate(path);
    if (!path.startsWith('/')) return absolute;
    return kept.some(folder => isBelow(folder, absolute))
      ? absolute
      : join(tmp, absolute.slice('/tmp'.length));
  };
  const outside = declared.map(locate).filter(path => !isBelow(root, path));
  const removeOutside = () => Promise.all(outside.map(removeFile));
  await removeOutside();
  // In a container of its own, the folder of an output is there.
  for (const { valueFromPath } of spec.outputs) {
    const file = valueFromPath === undefined ? root : locate(valueFromPath);
    if (isBelow(root, file)) await mkdir(dirname(file), { recursive: true });
  }

  return {
    script: join(root, 'script'),
    work,
    output: join(root, 'output.log'),
    tmpdir: mounts === undefined ? tmp : '/tmp',
    locate,
    mounts: mounts && {
      ...{ how: mounts, binds, cwd: work },
      ...(shadows.root !== undefined && { root: shadows.root }),
    },
    async [Symbol.asyncDispose]() {
      await removeOutside();
      await removeStepFolder(root);
    },
  };
}

export const removeStepFolder = (root: string): Promise<void> => rm(root, { recursive: true, force: true });

// --- internal -----------------------------------------------------------------------------------

const isBelow = (folder: string, path: string): boolean => path.startsWith(`${folder}/`);

/** The directories of `paths` that lie below `folder` and exist, outer ones first. */
async function below(folder: string, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of new Set(paths.map(path => resolve(path))))
    if (isBelow(folder, path) && (await isDirectory(path))) found.push(path);
  return found.sort((a, b) => a.length - b.length);
}

const isDirectory = (path: string): Promise<boolean> =>
  stat(path).then(
    s => s.isDirectory(),
    () => false,
  );

/** A file of a step in a shared /tmp. A folder is left alone: it may be somebody's. */
async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_FS_EISDIR') throw error;
  });
}
