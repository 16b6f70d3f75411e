/** Rules, as what they make of one value. NULL stays NULL, whatever the rule. */
import type { MaskRule } from '../../model/mask.ts';
import type { Column } from './columns.ts';
import { DAY, moved } from './dates.ts';
import { FAKE_KINDS, type FakeKind, fake, fakeBits, fakeLength } from './fake.ts';
import { permuted } from './integers.ts';
import { mappedList } from './lists.ts';
import { scrambled, scrambledJson, scrambledNumber } from './scramble.ts';
import type { Draw } from './secret.ts';

/** Text to text, as PostgreSQL writes and reads the type. @param by value of the column that decides how far dates move */
export type Mask = (value: string, by: string | undefined) => string;

/** @returns undefined when all values stay, or become NULL. @param rule one that `unfit` has nothing against */
export function maskOf(rule: MaskRule, column: Column, draw: Draw): Mask | undefined {
  if (rule === 'keep' || rule === 'null') return undefined;
  if (typeof rule === 'object' && 'constant' in rule) return () => rule.constant;
  const one = forOne(rule, column, draw);
  return column.list ? (value, by) => mappedList(value, element => one(element, by)) : one;
}

/** Why a rule cannot be for a column; undefined: it can. */
export function unfit(
  rule: MaskRule,
  { form, type, list, most = Infinity, bits = 0, notNull }: Column,
): string | undefined {
  if (rule === 'keep') return undefined;
  if (rule === 'null') return notNull ? 'it may not be NULL: give it another rule' : undefined;
  if (typeof rule === 'object' && 'constant' in rule) return undefined;
  const name = typeof rule === 'string' ? rule : 'shift';
  const allowed = FITS[name] ?? TEXTS;
  if (!allowed.includes(form) && !(name === 'phone' && (form === 'number' || bits === 63)))
    return `${name} is not for ${type}${list ? ', nor for what is in it' : ''}`;
  if (form === 'text' && most < (LEAST[name] ?? 1))
    return `${type} is too short for ${name}, which takes ${LEAST[name]} characters`;
  return undefined;
}

/** Bits of what can come out of a rule: how likely two values become the same. Infinity: they never do. */
export function bitsOf(rule: MaskRule, { form, most = Infinity }: Column): number {
  if (rule === 'keep') return Infinity;
  if (typeof rule === 'object' || rule === 'scramble' || rule === 'null') return 0;
  if (rule !== 'hash') return fakeBits(rule as FakeKind, most);
  return (
    { integer: Infinity, uuid: 122, bytes: 128, address: 24 }[form as string] ??
    4 * Math.min(HASH_LETTERS, most)
  );
}

/** Columns whose rules have the same text make the same of the same value. @param table in which a `by` is */
export function sameness(rule: MaskRule, column: Column, table: string): string {
  if (rule === 'keep' || rule === 'null') return rule;
  const { form, most = Infinity, folds, list, type } = column;
  const cut = form === 'text' && typeof rule === 'string' ? Math.min(most, lengthOf(rule)) : 0;
  const of = typeof rule === 'object' && 'by' in rule ? table : '';
  // Numbers are the same in all widths; anything else is written as its type has it.
  const as = form === 'integer' || form === 'text' ? form : type;
  return JSON.stringify([rule, as, Number.isFinite(cut) ? cut : 'any', folds, list, of]);
}

// --- internal -----------------------------------------------------------------------------------

const HASH_LETTERS = 32;

const TEXTS: readonly string[] = ['text'];

const FITS: Readonly<Record<string, readonly string[]>> = {
  hash: ['text', 'integer', 'uuid', 'bytes', 'address'],
  scramble: ['text', 'integer', 'number', 'json'],
  shift: ['date', 'moment'],
};

/** Characters; below them nothing sensible is left. */
const LEAST: Readonly<Record<string, number>> = { hash: 8, email: 18, phone: 8 };

const lengthOf = (rule: string): number =>
  rule === 'hash' ? HASH_LETTERS : FAKE_KINDS.has(rule) ? fakeLength(rule as FakeKind) : Infinity;

function forOne(
  rule: Exclude<MaskRule, 'keep' | 'null' | { constant: string }>,
  column: Column,
  draw: Draw,
): Mask {
  const { form, most = Infinity, folds, padded, bits = 63 } = column;
  // What the type takes for the same has to become the same.
  const same = (value: string): string => (folds ? value.toLowerCase() : padded ? value.trimEnd() : value);
  if (typeof rule === 'object') {
    const { shift, by: other } = rule;
    const unit = form === 'moment' && other === undefined ? 1 : DAY;
    const span = (shift * DAY) / unit;
    return (value, by) => {
      const drawn = numberOf(draw.digest('shift', by ?? value)) % (2 * span);
      return moved(value, (drawn < span ? drawn - span : drawn - span + 1) * unit);
    };
  }
  if (rule === 'hash') {
    if (form === 'integer') return value => permuted(value, draw);
    if (form === 'uuid') return value => uuidOf(hex(draw.digest('hash', value)));
    if (form === 'bytes') return value => `\\x${hex(draw.digest('hash', value)).slice(0, HASH_LETTERS)}`;
    if (form === 'address') return value => addressOf(value, draw.digest('hash', value));
    const letters = Math.min(HASH_LETTERS, most);
    return value => hex(draw.digest('hash', same(value))).slice(0, letters);
  }
  if (rule === 'scramble') {
    if (form === 'json') return value => scrambledJson(value, part => draw.digest('scramble', part));
    const digits = form === 'integer' ? String(2n ** BigInt(bits)).length : Infinity;
    if (form !== 'text') return value => scrambledNumber(value, draw.digest('scramble', value), digits);
    return value => scrambled(value, draw.digest('scramble', same(value)));
  }
  const kind = rule as FakeKind;
  if (form !== 'text') return value => fake(kind, draw.digest(kind, value), 16).slice(1); // phone: without its +
  return value => fake(kind, draw.digest(kind, same(value)), most);
}

const hex = (digest: string): string => Buffer.from(digest, 'latin1').toString('hex');

/** Of 48 bits. */
const numberOf = (digest: string): number => {
  let number = 0;
  for (let i = 0; i < 6; i++) number = number * 256 + digest.charCodeAt(i);
  return number;
};

/** As a random one: version 4 (RFC 9562 §5.4). */
const uuidOf = (h: string): string =>
  `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-${'89ab'[Number.parseInt(h[16]!, 16) & 3]}${h.slice(17, 20)}-${h.slice(20, 32)}`;

/** One of nobody in particular: RFC 1918, RFC 4193. */
const addressOf = (value: string, digest: string): string => {
  if (!value.includes(':')) return `10.${[0, 1, 2].map(i => digest.charCodeAt(i)).join('.')}`;
  return `fd${hex(digest).slice(0, 2)}:${hex(digest).slice(2, 30).match(/.{4}/g)!.join(':')}`;
};
