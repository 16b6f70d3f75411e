/**
 * Columns that look like a person's data: by their names, and by some of their values, which stay in memory. A guess, which
 * is there to keep one from forgetting a column; whoever knows better says `keep`.
 */
import type { MaskRule } from '../../model/mask.ts';
import type { Source } from '../catalog/contract.ts';
import type { Column } from './columns.ts';
import { FIRST_NAMES } from './fake.ts';

export type Suspect = {
  /** e.g. `its name`, `values like e-mail addresses` */
  readonly why: string;
  /** What is usual for such a column, if its type allows; the first that fits is suggested. */
  readonly rules: readonly MaskRule[];
};

/** By name alone. @param table plain name of its table */
export function suspectByName(column: Column, table: string): Suspect | undefined {
  const { form, plain } = column;
  if (form === 'address') return { why: 'its type', rules: ['hash'] };
  const words = wordsOf(plain);
  const found = NAMES.find(({ forms, is }) => forms.includes(form) && is(words, wordsOf(table)));
  return found && { why: 'its name', rules: found.rules };
}

/**
 * By values. @param table its quoted name @param bytes that it takes
 * @returns by column number
 */
export async function suspectsByValues(
  { query }: Source,
  table: { readonly name: string; readonly bytes: number },
  columns: readonly Column[],
): Promise<ReadonlyMap<number, Suspect>> {
  const looked = columns.filter(({ form, generated }) => !generated && SAMPLED.includes(form));
  const suspects = new Map<number, Suspect>();
  if (looked.length === 0) return suspects;
  const list = looked.map(({ name }) => `pg_catalog.left(${name}::text, ${LETTERS})`).join(', ');
  // The first rows are often those that somebody made by hand; pages from anywhere are not.
  const share = Math.min(100, (100 * PAGES * 8192) / Math.max(1, table.bytes));
  const rows = await query<{ values: readonly (string | null)[] }>(
    `(SELECT ARRAY[${list}] AS values FROM ONLY ${table.name} LIMIT ${ROWS})
     UNION ALL (SELECT ARRAY[${list}] FROM ONLY ${table.name} TABLESAMPLE SYSTEM (${share}) LIMIT ${ROWS})`,
  );
  looked.forEach((column, i) => {
    const values = rows.flatMap(row => row.values[i] ?? []);
    const found =
      values.length === 0
        ? undefined
        : VALUES.find(({ is, share }) => values.filter(is).length > share * values.length);
    if (found !== undefined)
      suspects.set(column.number, {
        why: `values like ${found.like}`,
        rules:
          column.list || !found.rules.includes('email') || values.every(IS_ONE_EMAIL)
            ? found.rules
            : ['scramble'],
      });
  });
  return suspects;
}

// --- internal -----------------------------------------------------------------------------------

const ROWS = 200;
const PAGES = 20;
/** Of one value. */
const LETTERS = 2_000;

const SAMPLED: readonly string[] = ['text', 'json', 'other'];

/** Words of a name in snake_case or camelCase, in lower case. */
const wordsOf = (name: string): readonly string[] =>
  name
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, '$1_$2')
    .toLowerCase()
    .split(/[^\p{L}\d]+/u)
    .filter(word => word !== '');

type Words = readonly string[];

const any = (words: Words, ...of: string[]): boolean => of.some(word => words.includes(word));
/** One word behind the other, or both as one. */
const pair = (words: Words, first: string, second: string): boolean =>
  words.includes(`${first}${second}`) || words.some((word, i) => word === first && words[i + 1] === second);

const PEOPLE = new Set(
  `account accounts actor actors admin admins agent agents applicant applicants attendee attendees author authors beneficiary candidate candidates
  client clients contact contacts customer customers doctor doctors donor donors driver drivers employee employees guest guests lead leads
  member members owner owners participant participants passenger passengers patient patients people person persons profile profiles recipient
  recipients sender senders staff student students subscriber subscribers teacher teachers user users visitor visitors worker workers`.split(
    /\s+/,
  ),
);

const NAMES: readonly {
  readonly forms: readonly string[];
  readonly is: (words: Words, table: Words) => boolean;
  readonly rules: readonly MaskRule[];
}[] = [
  {
    forms: ['text', 'json'],
    is: w => any(w, 'email', 'emails', 'mail') || pair(w, 'e', 'mail'),
    rules: ['email', 'hash', 'scramble'],
  },
  {
    forms: ['text', 'integer', 'number'],
    is: w =>
      any(w, 'phone', 'phones', 'telephone', 'mobile', 'fax', 'tel', 'cellphone', 'msisdn') ||
      pair(w, 'cell', 'number'),
    rules: ['phone', 'hash', 'scramble'],
  },
  {
    forms: ['text'],
    is: w => pair(w, 'first', 'name') || pair(w, 'given', 'name') || any(w, 'forename'),
    rules: ['first-name', 'hash'],
  },
  {
    forms: ['text'],
    is: w => pair(w, 'last', 'name') || pair(w, 'family', 'name') || any(w, 'surname'),
    rules: ['last-name', 'hash'],
  },
  {
    forms: ['text'],
    is: (w, t) =>
      pair(w, 'full', 'name') ||
      pair(w, 'middle', 'name') ||
      pair(w, 'maiden', 'name') ||
      any(w, 'username', 'nickname') ||
      pair(w, 'user', 'name') ||
      pair(w, 'screen', 'name') ||
      (any(w, 'name') &&
        (w.some(word => PEOPLE.has(word)) ||
          (t.some(word => PEOPLE.has(word)) && (w.length === 1 || pair(w, 'display', 'name'))))),
    rules: ['name', 'hash'],
  },
  {
    forms: ['text'],
    is: w => any(w, 'postcode', 'zipcode', 'zip') || pair(w, 'postal', 'code'),
    rules: ['postcode', 'hash'],
  },
  { forms: ['text'], is: w => any(w, 'street'), rules: ['street', 'hash'] },
  {
    forms: ['text', 'json'],
    is: w => any(w, 'address', 'addresses', 'address1', 'address2') && !any(w, 'ip', 'mac'),
    rules: ['address', 'scramble'],
  },
  { forms: ['text'], is: w => any(w, 'ip', 'ipaddress', 'mac', 'imei'), rules: ['hash'] },
  {
    forms: ['date', 'moment'],
    is: w => any(w, 'birth', 'birthday', 'birthdate', 'dob', 'born'),
    rules: [{ shift: 180 }],
  },
  {
    forms: ['text', 'integer', 'number'],
    is: w =>
      any(w, 'ssn', 'passport', 'iban', 'ssnumber', 'nino', 'taxid', 'passwort') ||
      pair(w, 'social', 'security') ||
      pair(w, 'tax', 'id') ||
      pair(w, 'national', 'id') ||
      pair(w, 'credit', 'card') ||
      pair(w, 'card', 'number') ||
      pair(w, 'account', 'number') ||
      pair(w, 'license', 'number') ||
      pair(w, 'licence', 'number'),
    rules: ['hash', 'scramble', 'null'],
  },
  // People write about people there.
  {
    forms: ['text', 'json'],
    is: w =>
      !w.includes('id') &&
      any(
        w,
        'note',
        'notes',
        'comment',
        'comments',
        'message',
        'messages',
        'remark',
        'remarks',
        'bio',
        'about',
        'memo',
      ),
    rules: ['scramble'],
  },
  { forms: ['text', 'integer', 'number'], is: w => any(w, 'salary', 'wage', 'income'), rules: ['scramble'] },
  {
    forms: ['text', 'bytes'],
    is: w =>
      any(w, 'password', 'passwd', 'pwd', 'secret', 'token', 'otp', 'totp') ||
      pair(w, 'api', 'key') ||
      pair(w, 'private', 'key'),
    rules: ['hash', 'null'],
  },
];

/** With an end to each part, so that a text of nothing but letters takes no longer. */
const EMAIL = /[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[a-z]{2,24}/i;
const IS_ONE_EMAIL = (value: string): boolean => EMAIL.exec(value)?.[0] === value;
const KNOWN = new Set(FIRST_NAMES);

/** The first of them that enough values are like. */
const VALUES: readonly {
  readonly like: string;
  readonly is: (value: string) => boolean;
  /** More than that share of the values. */
  readonly share: number;
  readonly rules: readonly MaskRule[];
}[] = [
  {
    like: 'e-mail addresses',
    is: v => v.includes('@') && EMAIL.test(v),
    share: 0,
    rules: ['email', 'hash', 'scramble'],
  },
  { like: 'numbers of cards', is: isCard, share: 0.5, rules: ['hash', 'null'] },
  {
    like: 'bank accounts',
    is: v => /^[A-Z]{2}\d{2}(?: ?[A-Z\d]){11,30}$/.test(v) && isIban(v.replaceAll(' ', '')),
    share: 0.5,
    rules: ['hash', 'null'],
  },
  {
    like: 'phone numbers',
    is: v => /^\+\d[\d ()./-]{6,20}$/.test(v) || /^\(?0?\d{2,5}\)?[ /.-]\d{3,}[ .-]?\d{3,}$/.test(v),
    share: 0.5,
    rules: ['phone', 'hash', 'scramble'],
  },
  {
    like: 'internet addresses',
    is: v => /^(?:\d{1,3}\.){3}\d{1,3}(?:\/\d+)?$/.test(v),
    share: 0.5,
    rules: ['hash'],
  },
  {
    like: 'names of people',
    is: v =>
      /^\p{Lu}[\p{L}'-]+(?: \p{Lu}[\p{L}.'-]*){0,3}$/u.test(v) && KNOWN.has(v.split(' ')[0]!.toLowerCase()),
    share: 0.25,
    rules: ['name', 'hash'],
  },
];

/** 13 to 19 digits with a check digit (ISO/IEC 7812, Luhn). */
function isCard(value: string): boolean {
  const digits = value.replace(/[ -]/g, '');
  if (!/^[3-6]\d{12,18}$/.test(digits)) return false;
  const sum = [...digits].reverse().reduce((all, digit, i) => {
    const n = Number(digit) * (i % 2 === 1 ? 2 : 1);
    return all + (n > 9 ? n - 9 : n);
  }, 0);
  return sum % 10 === 0;
}

/** ISO 13616: the remainder of 97 is 1. */
function isIban(value: string): boolean {
  const digits = [...`${value.slice(4)}${value.slice(0, 4)}`].map(c => Number.parseInt(c, 36)).join('');
  return BigInt(digits) % 97n === 1n;
}
