/** Text of others for a terminal: what programs, scripts and servers say may hold anything. */

/**
 * The text without colours and with all else visible that a terminal would obey rather than show: escape sequences,
 * control characters, and what turns the direction of text (Unicode Standard Annex #9). Ends of lines and tabs stay.
 */
export const legible = (text: string): string =>
  text.replace(COLOURS, '').replace(/\r+$/gm, '').replace(OBEYED, escaped);

// --- internal -----------------------------------------------------------------------------------

/** Select graphic rendition: ECMA-48, 8.3.117. */
const COLOURS = /\x1b\[[\d;:]*m/g;

/** Control characters but tab and line feed, other ends of lines, marks and overrides of direction. */
const OBEYED = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
}
