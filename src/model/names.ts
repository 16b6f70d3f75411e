/** Names: what may be one, and the names that we derive from others. All derived names are deterministic. */
import { createHash } from 'node:crypto';

/** Sandbox names end up in preview hosts (`endpoint--sandbox`), so no `--`. @returns what is wrong, or undefined. */
export function sandboxNameProblem(name: string): string | undefined {
  if (name.length === 0) return 'it is empty';
  if (name.length > 30) return `it has ${name.length} characters, the most is 30`;
  if (name.includes('--')) return 'it contains "--", which separates endpoint and sandbox in preview hosts';
  if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name))
    return 'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last';
  return undefined;
}

/**
 * Branch names are what git takes as the name of a branch (git-check-ref-format(1)), so that CI passes its own; a
 * branch's id is derived from nothing. @returns what is wrong, or undefined.
 */
export function branchNameProblem(name: string): string | undefined {
  const bytes = Buffer.byteLength(name);
  if (name.length === 0) return 'it is empty';
  if (bytes > 255) return `it has ${bytes} bytes, the most is 255`;
  if (UNSEEN.test(name) || !name.isWellFormed()) return 'it contains characters that are not printed';
  const refused = /[ ~^:?*[\\]|\.\.|@\{|\/\//.exec(name)?.[0];
  if (refused !== undefined) return `it contains "${refused}", as no branch of git does`;
  if (name === '@') return 'git means something else by it';
  if (/^[-/]|[/.]$/.test(name)) return 'it begins with "-" or "/", or ends with "/" or "."';
  if (/(^|\/)\.|\.lock(\/|$)/.test(name)) return 'a part of it begins with "." or ends with ".lock"';
  return undefined;
}

/** Project names: one DNS label. @returns what is wrong, or undefined. */
export function labelNameProblem(name: string): string | undefined {
  if (name.length === 0) return 'it is empty';
  if (name.length > 63) return `it has ${name.length} characters, the most is 63`;
  if (!/^[a-z]([a-z0-9-]*[a-z0-9])?$/.test(name))
    return 'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last';
  return undefined;
}

/** A valid name of a sandbox that looks like `name`, for who wrote e.g. the name of a git branch. */
export const sandboxNameFor = (name: string): string => labelFor(name, 30);

/** A valid name of a branch that looks like `name`. */
export const branchNameFor = (name: string): string => labelFor(name, 63);

/** A DNS label made of `parts`; when longer than `max`, cut and made unique again by a hash of the whole. */
export function labelOf(parts: readonly string[], max = 63): string {
  const whole = parts
    .join('-')
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-');
  if (whole.length <= max) return whole;
  const hash = createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 8);
  return `${whole.slice(0, max - 9).replace(/-+$/, '')}-${hash}`;
}

/** Label under `preview.<domain>` of an endpoint. */
export const previewLabel = (endpoint: string, sandbox: string): string => `${endpoint}--${sandbox}`;

/** Name of the branch that a sandbox's database resource makes. */
export const sandboxBranchName = (sandbox: string, resource?: string): string =>
  labelOf(resource === undefined ? ['sb', sandbox] : ['sb', sandbox, resource]);

/** The closest of `known` to `name`, when close enough to be a slip of the finger. */
export function similarName(name: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

// --- internal -----------------------------------------------------------------------------------

/** Control characters, ends of lines, and what turns the direction of text: they would lie in a terminal. */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u;

/** Accents go, other characters become single hyphens. */
function labelFor(name: string, max: number): string {
  const plain = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return labelOf(/^[a-z]/.test(plain) ? [plain] : plain === '' ? ['x'] : ['x', plain], max);
}

/** Edit distance with transpositions (optimal string alignment), cut off at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        d = Math.min(d, before[j - 2]! + 1);
      row.push(d);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
