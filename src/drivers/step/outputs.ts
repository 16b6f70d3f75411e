/** Reads what a step wrote as its outputs: bytes as they are, nothing trimmed. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { OffshootError } from '../../model/errors.ts';
import type { StepOutput } from '../../model/plugin.ts';

/** 64 KiB. */
export const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * @param locate where we find what the script calls a path
 * @throws OffshootError step/output-missing, step/output-too-large, step/output-not-text
 */
export async function readOutputs(
  step: string,
  outputs: readonly StepOutput[],
  locate: (path: string) => string,
): Promise<Readonly<Record<string, string>>> {
  const values: Record<string, string> = {};
  for (const { name, valueFromPath: path = '' } of outputs) {
    const bytes = await readRegular(locate(path));
    const where = { step, output: name, path };
    if (bytes === undefined) throw new OffshootError('step/output-missing', where);
    if (typeof bytes === 'number')
      throw new OffshootError('step/output-too-large', { ...where, size: bytes, max: MAX_OUTPUT_BYTES });
    try {
      values[name] = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new OffshootError('step/output-not-text', where, { cause });
    }
  }
  return values;
}

// --- internal -----------------------------------------------------------------------------------

/**
 * Neither waits for a pipe nor follows a link: either would be the script's word about something else.
 * @returns the size instead when it is too large; undefined when there is no regular file
 */
async function readRegular(path: string): Promise<Buffer | number | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    const stat = await file.stat();
    if (!stat.isFile()) return undefined;
    return stat.size > MAX_OUTPUT_BYTES ? stat.size : await file.readFile();
  } finally {
    await file.close();
  }
}
