/** Names of plugin versions: `bare@major.minor.patch`; a bare name is version 0.0.0. */

/** `p@v1.0` → `{bare: 'p', version: '1.0.0'}`. The version must be canonicalisable; documents are checked before. */
export function canonicalPluginName(name: string): { readonly bare: string; readonly version: string } {
  const [bare = '', version = '0.0.0'] = name.split('@');
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9A-Za-z.-]+)?$/.exec(version);
  if (match === null) return { bare, version };
  const [, major, minor = '0', patch = '0', pre = ''] = match;
  return { bare, version: `${major}.${minor}.${patch}${pre}` };
}

/** Order of two canonical names by version (Semantic Versioning 2.0.0 §11): negative when `a` comes first. */
export function comparePluginVersions(a: string, b: string): number {
  const [coreA = '', preA] = splitVersion(a);
  const [coreB = '', preB] = splitVersion(b);
  const numbersA = coreA.split('.').map(Number);
  const numbersB = coreB.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (numbersA[i] ?? 0) - (numbersB[i] ?? 0);
    if (difference !== 0) return difference;
  }
  if (preA === preB) return 0;
  if (preA === undefined) return 1;
  if (preB === undefined) return -1;
  return comparePre(preA.split('.'), preB.split('.'));
}

// --- internal -----------------------------------------------------------------------------------

function splitVersion(name: string): [string, string | undefined] {
  const version = name.slice(name.indexOf('@') + 1);
  const dash = version.indexOf('-');
  return dash < 0 ? [version, undefined] : [version.slice(0, dash), version.slice(dash + 1)];
}

function comparePre(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const x = a[i];
    const y = b[i];
    if (x === undefined) return -1;
    if (y === undefined) return 1;
    if (x === y) continue;
    const numeric = [x, y].map(part => /^\d+$/.test(part));
    if (numeric[0] && numeric[1]) return Number(x) - Number(y);
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
    return x < y ? -1 : 1;
  }
  return 0;
}
