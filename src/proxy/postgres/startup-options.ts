/**
 * The startup parameter `options`: command-line arguments for the server process. Words are separated by
 * white space, a backslash takes the next character as it is (libpq's "options" keyword,
 * https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNECT-OPTIONS).
 */

/**
 * Takes `-c offshoot.branch=ID`, `-coffshoot.branch=ID` and `--offshoot.branch=ID` out of `options`: the
 * branch's server sets that variable itself.
 * @returns the ids in order, and all other words as they were written.
 */
export function takeBranchOption(options: string): {
  readonly branches: readonly string[];
  readonly rest: string;
} {
  const words = options.match(WORD) ?? [];
  const branches: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = plain(words[i]!);
    const apart = word === '-c' && i + 1 < words.length;
    const branch = branchIn(apart ? plain(words[i + 1]!) : settingIn(word));
    if (branch !== undefined) branches.push(branch);
    else rest.push(...words.slice(i, apart ? i + 2 : i + 1));
    if (apart) i++;
  }
  return { branches, rest: rest.join(' ') };
}

// --- internal ------------------------------------------------------------------------------------

/** White space is C's isspace() in ASCII, not JavaScript's \s, which knows more: the text is bytes (see codec.ts). */
const WORD = /(?:\\.|[^\\ \t\n\v\f\r])+/gs;

const plain = (word: string): string => word.replace(/\\(.)/gs, '$1');

const settingIn = (word: string): string => (/^(?:-c|--)/.test(word) ? word.slice(2) : '');

/** Names of settings are case-insensitive. */
const branchIn = (setting: string): string | undefined => /^offshoot\.branch=(.*)$/is.exec(setting)?.[1];
