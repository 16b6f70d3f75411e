/** Why a file cannot be read or written, in words. */
export function fileError(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'it does not exist',
    EISDIR: 'it is a folder',
    EACCES: 'permission denied',
    ENOSPC: 'no space is left',
  };
  return words[code ?? ''] ?? String(code ?? error);
}
