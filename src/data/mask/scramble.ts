/** Texts and numbers of the same shape: letters become other letters, digits other digits; what is between them stays. */

/** @param digest 32 characters, a byte each, of the value */
export function scrambled(text: string, digest: string): string {
  const next = randomOf(digest);
  let out = '';
  for (const letter of text) {
    const code = letter.codePointAt(0)!;
    if (code >= 97 && code <= 122) out += letterOf(next(), 97);
    else if (code >= 65 && code <= 90) out += letterOf(next(), 65);
    else if (code >= 48 && code <= 57) out += String.fromCharCode(48 + (next() % 10));
    else if (code < 128) out += letter;
    else if (/\p{Lu}/u.test(letter)) out += letterOf(next(), 65);
    else if (/\p{L}/u.test(letter)) out += letterOf(next(), 97);
    else if (/\p{N}/u.test(letter)) out += String.fromCharCode(48 + (next() % 10));
    else if (!/\p{M}/u.test(letter)) out += letter;
  }
  return out;
}

/** The same for a number: its sign, its length and a 0 in front stay. @param most digits that its type has; one with so many becomes none larger */
export function scrambledNumber(text: string, digest: string, most = Number.POSITIVE_INFINITY): string {
  const next = randomOf(digest);
  const [, mantissa = '', exponent = ''] = /^([^eE]*)(.*)$/s.exec(text)!;
  const length = /\d+/.exec(mantissa)?.[0].length ?? 0;
  let first = true;
  const other = mantissa.replace(/\d/g, digit => {
    if (!first) return String(next() % 10);
    first = false;
    if (digit === '0') return digit;
    return String(1 + (next() % (length < most ? 9 : Math.max(1, Number(digit) - 1))));
  });
  return other + exponent;
}

/** The same for each text and number of a JSON value; names of fields stay, unless they look like a value. */
export const scrambledJson = (text: string, digestOf: (part: string) => string): string =>
  text.replace(JSON_PARTS, (part: string, colon: string | undefined) => {
    if (part[0] !== '"') return scrambledNumber(part, digestOf(part));
    const value = JSON.parse(
      colon === undefined ? part : part.slice(0, part.length - colon.length),
    ) as string;
    if (colon !== undefined && /^[\p{L}_$][\p{L}\w $-]*$/u.test(value)) return part;
    return `${JSON.stringify(scrambled(value, digestOf(value)))}${colon ?? ''}`;
  });

// --- internal -----------------------------------------------------------------------------------

const JSON_PARTS = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

const letterOf = (random: number, first: number): string => String.fromCharCode(first + (random % 26));

/** Numbers below 2^32 (xorshift128): what it starts from says nothing of the value without the secret. */
function randomOf(digest: string): () => number {
  const word = (i: number): number =>
    (digest.charCodeAt(i) << 24) |
    (digest.charCodeAt(i + 1) << 16) |
    (digest.charCodeAt(i + 2) << 8) |
    digest.charCodeAt(i + 3);
  let [a, b, c, d] = [word(0), word(4), word(8), word(12) | 1];
  return () => {
    const t = a ^ (a << 11);
    [a, b, c] = [b, c, d];
    d = d ^ (d >>> 19) ^ (t ^ (t >>> 8));
    return d >>> 0;
  };
}
