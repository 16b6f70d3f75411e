/** Numbers of bytes as people write and read them; powers of 1024. */

/** e.g. `512M`, `20G`, `1048576`. @returns undefined when it is not a size */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,15})\s*([kmgt]?)(i?b)?$/i.exec(text.trim());
  if (match === null) return undefined;
  const bytes = Number(match[1]) * 1024 ** units.indexOf(match[2]!.toUpperCase());
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** e.g. `480 MiB`, `1.5 GiB`: two or three digits, cut rather than rounded up. */
export function bytesText(bytes: number): string {
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  if (unit === 0) return `${bytes} bytes`;
  const value = bytes / 1024 ** unit;
  return `${value < 10 ? Math.floor(value * 10) / 10 : Math.floor(value)} ${units[unit]}iB`;
}

// --- internal ------------------------------------------------------------------------------------

const units = ['', 'K', 'M', 'G', 'T'];
