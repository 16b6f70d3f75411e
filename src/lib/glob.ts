/** Globs as regular expressions: `*`, `?`, `[a-z]`, `**` for any number of folders, and `{a,b}` where that is asked for. */

/** What cannot be meant, e.g. `[z-a]`, fits nothing, as in git. @param braces `{a,b}` means either; git has no such thing */
export function globToRegExp(glob: string, { braces = true }: { readonly braces?: boolean } = {}): RegExp {
  let source = '';
  let depth = 0;
  for (let i = 0; i < glob.length; i++) {
    const char = glob[i]!;
    if (char === '*') {
      const stars = /^\*+/.exec(glob.slice(i))![0].length;
      const alone = (i === 0 || glob[i - 1] === '/') && stars >= 2;
      i += stars - 1;
      if (alone && glob[i + 1] === '/') {
        source += '(?:[^/]+/)*';
        i++;
      } else source += alone ? '.*' : '[^/]*';
    } else if (char === '?') source += '[^/]';
    else if (char === '[') {
      const [whole, not = '', set = ''] = /^\[([!^]?)(\]?[^\]]*)\]/.exec(glob.slice(i)) ?? [];
      if (whole === undefined) source += '\\[';
      else {
        source += `[${not && '^'}${set.replace(/[\\[\]^]/g, '\\$&')}]`;
        i += whole.length - 1;
      }
    } else if (braces && char === '{' && glob.indexOf('}', i) > 0) {
      source += '(?:';
      depth++;
    } else if (depth > 0 && char === '}') {
      source += ')';
      depth--;
    } else if (depth > 0 && char === ',') source += '|';
    else if (char === '\\' && i + 1 < glob.length) source += literal(glob[++i]!);
    else source += literal(char);
  }
  try {
    return new RegExp(`^${source}${')'.repeat(depth)}$`, 's');
  } catch {
    return /(?!)/;
  }
}

/** Whether it means one path only. */
export const isLiteral = (glob: string): boolean => !/[*?[{\\]/.test(glob);

// --- internal -----------------------------------------------------------------------------------

const literal = (char: string): string => char.replace(/[.*+?^${}()|[\]\\/]/, '\\$&');
