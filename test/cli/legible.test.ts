import assert from 'node:assert/strict';
import { test } from 'node:test';
import { legible } from '../../src/cli/legible.ts';

const cases: readonly (readonly [what: string, text: string, shown: string])[] = [
  ['ordinary text', 'a\tb\n  ü 😀 "quoted"\n', 'a\tb\n  ü 😀 "quoted"\n'],
  ['colours', '\x1b[1;31merror\x1b[0m: no \x1b[38;5;12mway\x1b[m', 'error: no way'],
  ['clearing the screen, moving the cursor', 'a\x1b[2J\x1b[1;1Hb', 'a\\x1b[2J\\x1b[1;1Hb'],
  [
    'a title, a link, the clipboard',
    '\x1b]0;x\x07\x1b]52;c;eA==\x1b\\',
    '\\x1b]0;x\\x07\\x1b]52;c;eA==\\x1b\\',
  ],
  ['the same in eight bits', '\x9b2J\x9d0;x\x9c', '\\x9b2J\\x9d0;x\\x9c'],
  ['writing over a line', 'password wrong\rok\x08\x08', 'password wrong\\x0dok\\x08\\x08'],
  ['ends of lines of another system', 'a\r\nb\r', 'a\nb'],
  ['other ends of lines', 'a\u2028b\x85c\x0bd', 'a\\u2028b\\x85c\\x0bd'],
  ['turned direction', 'a\u202eb\u2066c\u200f', 'a\\u202eb\\u2066c\\u200f'],
  ['zero', 'a\0b\x7f', 'a\\x00b\\x7f'],
];

for (const [what, text, shown] of cases) test(what, () => assert.equal(legible(text), shown));
