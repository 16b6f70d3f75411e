/** Where a script may have the files of its inputs and outputs on this machine. */
import { resolve } from 'node:path';
import type { PrivateMounts } from '../../lib/namespaces.ts';
import { mayChangeRoot } from '../../lib/namespaces.ts';
import { shadowProblem } from '../../lib/shadow.ts';
import { OffshootError } from '../../model/errors.ts';
import type { StepSpec } from '../contract.ts';

/** Absent: scripts see the machine's own files, and `why` says why. */
export type Mounts = PrivateMounts | { readonly why: string };

/** @returns why a script cannot have a file at `path` here; undefined when it can */
export async function pathProblem(path: string, mounts: Mounts): Promise<string | undefined> {
  if (!path.startsWith('/')) {
    return resolve('/step', path).startsWith('/step/') ? undefined : 'it leads out of the working directory';
  }
  if (isBelowTmp(path)) return undefined;
  if (resolve(path) === '/tmp') return 'it is a folder';
  if ('why' in mounts) return `only relative paths and those below /tmp work here (${mounts.why})`;
  return (await shadowProblem(path)) ?? (await mayChangeRoot(mounts));
}

/** @throws OffshootError step/path-outside */
export async function checkPaths(step: string, spec: StepSpec, mounts: Mounts): Promise<void> {
  const declared = [
    ...spec.inputs.map(({ name, as }) => ({ what: `input "${name}"`, path: as?.path })),
    ...spec.outputs.map(({ name, valueFromPath }) => ({
      what: `output "${name}"`,
      path: valueFromPath ?? '',
    })),
  ];
  for (const { what, path } of declared) {
    const why = path === undefined ? undefined : await pathProblem(path, mounts);
    if (why !== undefined) throw new OffshootError('step/path-outside', { step, what, path, why });
  }
}

/** Absolute paths that are not in the /tmp which every script has to itself. */
export const needsShadow = (path: string): boolean => path.startsWith('/') && !isBelowTmp(path);

// --- internal -----------------------------------------------------------------------------------

const isBelowTmp = (path: string): boolean => resolve(path).startsWith('/tmp/');
