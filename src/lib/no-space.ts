/** Whether something failed for want of room, or because the file system takes no writes at all. */
import { constants } from 'node:os';
import { ExecError } from './exec.ts';

/** Whether the system, or a program that we ran, ran out of room or of its quota. Follows the chain of causes. */
export function isNoSpace(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, errno } = error as NodeJS.ErrnoException;
  // Node has no code for a quota.
  if (code === 'ENOSPC' || code === 'EDQUOT' || errno === -constants.errno.EDQUOT) return true;
  if (error instanceof ExecError && /No space left on device|Disk quota exceeded/.test(error.stderr))
    return true;
  return isNoSpace(error.cause);
}

/** Follows the chain of causes. */
export function isReadOnly(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EROFS' || (error instanceof ExecError && /Read-only file system/.test(error.stderr)))
    return true;
  return isReadOnly(error.cause);
}
