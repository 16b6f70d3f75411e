/** What git would not look at: `.gitignore` of a folder and those above, up to the top of the repository. gitignore(5). */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { globToRegExp } from './glob.ts';

export type GitIgnore = {
  /** Whether an entry of a folder that is not ignored itself is. @param path absolute */
  ignores(path: string, isFolder: boolean): boolean;
  /** What was read is read again when it is needed. */
  forget(): void;
};

/** @param top absolute: nothing above counts */
export function gitIgnore(top: string): GitIgnore {
  const known = new Map<string, readonly Rule[]>();
  const rulesOf = (folder: string): readonly Rule[] => {
    const before = known.get(folder);
    if (before !== undefined) return before;
    const own = read(join(folder, '.gitignore'), folder);
    const isTop = folder === top || dirname(folder) === folder || !folder.startsWith(`${top}/`);
    const rules = [
      ...(isTop ? read(join(folder, '.git/info/exclude'), folder) : rulesOf(dirname(folder))),
      ...own,
    ];
    known.set(folder, rules);
    return rules;
  };
  return {
    ignores(path, isFolder) {
      const name = basename(path);
      if (ALWAYS.has(name) || LEFT_BY_EDITORS.test(name)) return true;
      // The last one that fits counts.
      const rule = rulesOf(dirname(path)).findLast(
        ({ base, pattern, foldersOnly }) =>
          (isFolder || !foldersOnly) && pattern.test(path.slice(base.length + 1)),
      );
      return rule !== undefined && !rule.not;
    },
    forget: () => known.clear(),
  };
}

/** The folder above that has a `.git`; undefined: there is none. */
export function repositoryOf(folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return at; // also false where we may not look
    if (dirname(at) === at) return undefined;
  }
}

// --- internal -----------------------------------------------------------------------------------

type Rule = {
  readonly base: string;
  readonly pattern: RegExp;
  readonly not: boolean;
  readonly foldersOnly: boolean;
};

/** Nobody edits what is in there. */
const ALWAYS = new Set(['.git', '.hg', '.svn', 'node_modules', '__pycache__', '.venv', '.DS_Store']);
/** For the time of an edit: vim, emacs. */
const LEFT_BY_EDITORS = /(^4913|~|^\..*\.sw.|^\.#.*)$/;
const MOST_BYTES = 1024 * 1024;

function read(file: string, base: string): readonly Rule[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').slice(0, MOST_BYTES);
  } catch {
    return [];
  }
  return text.split('\n').flatMap(line => ruleOf(line.replace(/(?<!\\)\s+$/, ''), base) ?? []);
}

function ruleOf(line: string, base: string): Rule | undefined {
  if (line === '' || line.startsWith('#')) return undefined;
  const not = line.startsWith('!');
  const foldersOnly = line.endsWith('/');
  const pattern = line.slice(not ? 1 : 0, foldersOnly ? -1 : undefined);
  const glob = pattern.includes('/') ? pattern.replace(/^\//, '') : `**/${pattern}`;
  return { base, pattern: globToRegExp(glob, { braces: false }), not, foldersOnly };
}
