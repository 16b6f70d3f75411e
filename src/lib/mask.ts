/**
 * Hides values in texts, also as they look in JSON, in URLs and in base64. A text costs what it is long, however many
 * values there are: a place is looked at more closely only where four characters stand that stand in a value, too.
 */
import { isDeepStrictEqual } from 'node:util';

/** What is shown in place of a value. */
export const hidden = '***';

/** Values shorter than this are not hidden: they would blacken every word. */
export const leastLength = 4;

export type Mask = {
  /** From now on the values of `owner` are these. */
  set(owner: string, values: readonly string[]): void;
  text(text: string): string;
};

export function createMask(): Mask {
  const known = new Map<
    string,
    { readonly values: readonly string[]; readonly patterns: readonly Pattern[] }
  >();
  const byGram = new Map<number, Pattern[]>();
  /** By a part of the gram's bits: how many patterns have such a one. What is 0 here is in no value. */
  const counts = new Uint16Array(65_536);

  const remove = (pattern: Pattern) => {
    counts[slot(pattern.gram)]! -= 1;
    const left = byGram.get(pattern.gram)!.filter(p => p !== pattern);
    if (left.length === 0) byGram.delete(pattern.gram);
    else byGram.set(pattern.gram, left);
  };

  const add = (pattern: Pattern) => {
    counts[slot(pattern.gram)]! += 1;
    byGram.set(pattern.gram, [...(byGram.get(pattern.gram) ?? []), pattern]);
  };

  return {
    set(owner, values) {
      const before = known.get(owner);
      if (isDeepStrictEqual(before?.values ?? [], values)) return;
      before?.patterns.forEach(remove);
      known.delete(owner);
      const patterns = [...new Set(values.flatMap(formsOf))].map(patternOf);
      if (patterns.length > 0) known.set(owner, { values, patterns });
      patterns.forEach(add);
    },

    text(text) {
      if (known.size === 0 || text.length < leastLength) return text;
      const found: [from: number, to: number][] = [];
      let gram = 0;
      for (let i = 0; i < text.length; i++) {
        gram = (gram << 8) | (text.charCodeAt(i) & 0xff); // the last four characters
        if (i < GRAM - 1 || counts[slot(gram)] === 0) continue;
        for (const { value, at } of byGram.get(gram) ?? []) {
          const from = i - (GRAM - 1) - at;
          if (from >= 0 && text.startsWith(value, from)) found.push([from, from + value.length]);
        }
      }
      return found.length === 0 ? text : without(text, found);
    },
  };
}

/** `text` without some values. @param values see `leastLength` */
export function maskIn(text: string, values: readonly string[]): string {
  const mask = createMask();
  mask.set('', values);
  return mask.text(text);
}

/** `text` without the passwords of the URLs in it, whatever they are. */
export const maskUrls = (text: string): string => text.replace(/(:\/\/[^\s:/@]*:)[^\s/@]+@/g, `$1${hidden}@`);

// --- internal -----------------------------------------------------------------------------------

/** A value that is looked for, by four of its characters, which begin at `at`. */
type Pattern = { readonly value: string; readonly at: number; readonly gram: number };

const GRAM = 4;

const slot = (gram: number): number => (gram ^ (gram >>> 16)) & 0xffff;

/** The middle is what tells values apart: URLs begin and end alike. */
function patternOf(value: string): Pattern {
  const at = Math.floor((value.length - GRAM) / 2);
  let gram = 0;
  for (let i = at; i < at + GRAM; i++) gram = (gram << 8) | (value.charCodeAt(i) & 0xff);
  return { value, at, gram };
}

/** A value, and what it looks like where others quote it. */
function formsOf(value: string): readonly string[] {
  const uri = encoded(value);
  const forms = [
    value,
    JSON.stringify(value).slice(1, -1),
    uri,
    uri.replace(/%../g, hex => hex.toLowerCase()),
    new URLSearchParams({ '': value }).toString().slice(1),
    ...inBase64(value),
    ...linesOf(value),
  ];
  return forms.filter(form => form.length >= leastLength);
}

const encoded = (value: string): string => encodeURIComponent(value.toWellFormed());

/** Of several lines each is told alone, too; what frames a key is no secret. */
const linesOf = (value: string): readonly string[] => {
  const lines = value.split(/\r?\n/);
  return lines.length === 1 ? [] : lines.filter(l => l.length >= 2 * leastLength && !l.startsWith('-----'));
};

/** As part of any longer text, where it begins at one of three places of a group, whole or in the lines of usual tools. */
function inBase64(value: string): readonly string[] {
  if (value.length < 2 * leastLength) return [];
  const forms = [0, 1, 2].map(before => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(value)]);
    // Characters that also hold bits of what stands before and behind are not the value's own.
    return bytes.toString('base64').slice(Math.ceil((8 * before) / 6), Math.floor((8 * bytes.length) / 6));
  });
  const whole = [...forms, ...forms.map(form => form.replaceAll('+', '-').replaceAll('/', '_'))];
  const lines = [64, 76].flatMap(width => forms[0]!.match(new RegExp(`.{${width}}`, 'g')) ?? []);
  return [...whole, ...lines];
}

/** @param found may overlap */
function without(text: string, found: readonly (readonly [from: number, to: number])[]): string {
  let [masked, end] = ['', 0];
  for (const [from, to] of found.toSorted(([a], [b]) => a - b)) {
    if (to <= end) continue;
    // What overlaps with, or touches, the one before is one with it.
    if (end === 0 || from > end) masked += text.slice(end, from) + hidden;
    end = to;
  }
  return masked + text.slice(end);
}
