/**
 * Where statements of a script for psql end, and what is said to psql itself, as psql's own scanner has it
 * (PostgreSQL's source, fe_utils/psqlscan.l). Fed line by line, so that a script of any length needs little memory.
 *
 * Texts hold a byte in each character (Latin-1), because a script may be in any encoding that a server has: all that
 * matters here is ASCII.
 */

export type Token =
  /** Without its semicolon. `line` is where it begins, from 1. */
  | { readonly kind: 'statement'; readonly text: string; readonly line: number }
  /** `\name rest-of-the-line`, variables in the rest replaced. */
  | { readonly kind: 'command'; readonly name: string; readonly rest: string; readonly line: number };

export type Scanner = {
  /** @param line with its line end */
  feed(line: string, number: number): void;
  /**
   * The next token of the lines that were fed. Asked only after the one before it has been acted on: `\set` changes
   * what follows.
   */
  next(): Token | undefined;
  /** What stands at the end without a semicolon. */
  end(): Token | undefined;
  /** Forgets a statement that has begun. */
  reset(): void;
  /** The statement that has begun. */
  readonly text: string;
  /** Nothing but space and comments has come since the last statement. */
  readonly idle: boolean;
};

export type Surroundings = {
  /** Value of a variable that `\set` made; undefined: `:name` stays as it is. */
  readonly variable: (name: string) => string | undefined;
  /** The server's `standard_conforming_strings`: no backslashes in plain strings. */
  readonly standardStrings: () => boolean;
};

export function createScanner(around: Surroundings): Scanner {
  let input = '';
  let at = 0;
  let number = 0;
  let inside: Inside = { what: 'statement' };
  let text = '';
  let startLine = 0;
  let parens = 0;
  /** First letters of the first four words: whether this is CREATE [OR REPLACE] FUNCTION or PROCEDURE. */
  let words = '';
  /** BEGIN … END in the body of such a function, in which semicolons do not end the statement. */
  let blocks = 0;
  let content = false;

  const clear = (): void => {
    inside = { what: 'statement' };
    text = words = '';
    parens = blocks = 0;
    content = false;
  };

  const take = (): Token | undefined => {
    const statement = content
      ? ({ kind: 'statement', text: text.trim(), line: startLine } as const)
      : undefined;
    clear();
    return statement;
  };

  const add = (part: string, isContent = true): void => {
    if (isContent && !content) {
      content = true;
      startLine = number;
      text = ''; // comments before a statement are not part of it
    }
    text += part;
  };

  const word = (found: string): void => {
    const lower = found.toLowerCase();
    if (parens === 0 && FUNCTION.test(words)) {
      if (lower === 'begin') blocks++;
      else if (lower === 'case' && blocks > 0) blocks++;
      else if (lower === 'end' && blocks > 0) blocks--;
    }
    if (words.length < 4) words += lower[0];
  };

  const replaced = (found: string): string => {
    const [, test, quote, name] = /^:(\{\?)?(['"]?)([\w\x80-\xff]+)/.exec(found)!;
    const value = around.variable(name!);
    if (test !== undefined) return value === undefined ? 'FALSE' : 'TRUE';
    if (value === undefined) return found;
    return quote === '' ? value : `${quote}${value.replaceAll(quote!, quote! + quote!)}${quote}`;
  };

  /** Scans on inside a string, quoted name or comment. @returns false when the input ended there */
  const leave = (): boolean => {
    const pattern = ENDS[inside.what as keyof typeof ENDS] ?? tagPattern(inside.tag!);
    for (;;) {
      pattern.lastIndex = at;
      const found = pattern.exec(input);
      const stop = found === null ? input.length : pattern.lastIndex;
      add(input.slice(at, stop), inside.what !== 'comment');
      at = stop;
      if (found === null) return false;
      if (inside.what === 'comment') {
        inside.depth! += found[0] === '/*' ? 1 : -1;
        if (inside.depth! > 0) continue;
      }
      inside = { what: 'statement' };
      return true;
    }
  };

  const command = (): Token => {
    const stop = input.indexOf('\n', at);
    const line = input.slice(at, stop < 0 ? input.length : stop).replace(/\r$/, '');
    const [, name = '', rest = ''] = /^\\(\S*)(.*)$/s.exec(line)!;
    at = stop < 0 ? input.length : stop + 1;
    return { kind: 'command', name, rest: rest.trim(), line: number };
  };

  return {
    feed(line, n) {
      input = input.slice(at) + line;
      at = 0;
      number = n;
    },

    next() {
      while (at < input.length) {
        if (inside.what !== 'statement') {
          if (!leave()) break;
          continue;
        }
        TOKEN.lastIndex = at;
        const [found] = TOKEN.exec(input)!;
        const first = found[0]!;
        if (first === '\\') {
          if (input[at + 1] === ';') {
            at += 2;
            add(';');
            continue;
          }
          return command();
        }
        at += found.length;
        if (first === ';' && parens === 0 && blocks === 0) {
          const statement = take();
          if (statement !== undefined) return statement;
          continue;
        }
        if (first === '(') parens++;
        else if (first === ')') parens = Math.max(0, parens - 1);
        if (first === ':' && /^:[{'"\w\x80-\xff]/.test(found)) {
          add(replaced(found));
          continue;
        }
        const comment = found === '/*' || found.startsWith('--');
        add(found, !comment && !/^\s/.test(found));
        if (WORD.test(first)) word(found);
        if (found === '/*') inside = { what: 'comment', depth: 1 };
        else if (first === '"') inside = { what: 'name' };
        else if (first === "'")
          inside = {
            what:
              /(^|[^\w$\x80-\xff])e'$/i.test(text.slice(-3)) || !around.standardStrings()
                ? 'escapes'
                : 'string',
          };
        else if (found.length > 1 && first === '$') inside = { what: 'dollar', tag: found };
      }
      input = '';
      at = 0;
      return undefined;
    },

    end: take,
    reset: clear,
    get text() {
      return text;
    },
    get idle() {
      return !content && inside.what === 'statement';
    },
  };
}

/** A text of one byte in each character, as what it is in UTF-8. */
export const decoded = (latin1: string): string => Buffer.from(latin1, 'latin1').toString('utf8');

// --- internal -----------------------------------------------------------------------------------

type Inside = {
  what: 'statement' | 'string' | 'escapes' | 'name' | 'dollar' | 'comment';
  /** Of a dollar quote, with its dollars. */
  tag?: string;
  /** Comments of SQL nest. */
  depth?: number;
};

const WORD = /[A-Za-z_\x80-\xff]/;
/** CREATE FUNCTION, CREATE PROCEDURE, CREATE OR REPLACE of either. */
const FUNCTION = /^c(or)?[fp]/;

const TOKEN =
  /[A-Za-z_\x80-\xff][\w$\x80-\xff]*|\d[\w.$\x80-\xff]*|\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*)?\$|--[^\n]*|\/\*|::|:=|:\{\?[\w\x80-\xff]+\}|:'[\w\x80-\xff]+'|:"[\w\x80-\xff]+"|:[A-Za-z_\x80-\xff][\w\x80-\xff]*|\s+|[\s\S]/y;

/** A doubled quote ends a string and begins the next, which comes to the same. */
const ENDS = {
  string: /'/g,
  escapes: /(?<=(?:^|[^\\])(?:\\\\)*)'/g,
  name: /"/g,
  comment: /\/\*|\*\//g,
} as const;

const tagPattern = (tag: string): RegExp => new RegExp(tag.replaceAll('$', '\\$'), 'g');
