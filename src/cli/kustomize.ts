/** Rendering a folder of Kustomize by the program that its owner has installed. */
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { ExecError, exec } from '../lib/exec.ts';
import { findProgram } from '../lib/find-program.ts';
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { UsageError } from './output.ts';
import type { SourceFile } from './read-file.ts';

const maxOutput = 64 * 1024 * 1024;
const deadlineMs = 120_000;

/** @throws OffshootError deploy/no-kustomize, deploy/kustomize-failed; UsageError; the signal's reason */
export async function readKustomization(cli: Cli, dir: string): Promise<SourceFile> {
  const path = realFolder(cli, dir);
  const program = await programOf(cli);
  if (program === undefined) throw new OffshootError('deploy/no-kustomize', { dir });
  const [file, ...args] = program;
  try {
    const { stdout } = await exec(file!, [...args, path], {
      ...{ cwd: cli.cwd, env: { ...cli.env }, signal: cli.signal, maxOutput, deadlineMs },
    });
    return { file: dir, text: stdout, path };
  } catch (cause) {
    cli.signal.throwIfAborted();
    if (!(cause instanceof ExecError)) throw cause;
    const output = cause.timedOut ? 'it took too long' : cause.stderr.trim();
    throw new OffshootError(
      'deploy/kustomize-failed',
      { command: program.join(' '), dir },
      { cause, output },
    );
  }
}

// --- internal -----------------------------------------------------------------------------------

/** What renders a folder whose path is appended. */
async function programOf({ env, cwd }: Cli): Promise<readonly string[] | undefined> {
  const path = env.PATH ?? '';
  const kustomize = await findProgram('kustomize', path, cwd);
  if (kustomize !== undefined) return [kustomize, 'build'];
  const kubectl = await findProgram('kubectl', path, cwd);
  return kubectl === undefined ? undefined : [kubectl, 'kustomize'];
}

function realFolder({ cwd }: Cli, dir: string): string {
  try {
    return realpathSync(resolve(cwd, dir));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`cannot read ${dir}: ${code === 'ENOENT' ? 'it does not exist' : code}`);
  }
}
