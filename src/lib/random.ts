/** Random identifiers and secrets. */
import { randomInt } from 'node:crypto';

const lower = 'abcdefghijklmnopqrstuvwxyz';
const digits = '0123456789';

const pick = (alphabet: string, length: number): string =>
  Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');

/** `length` lowercase alphanumerics, a letter first: fit for DNS labels, directories and SQL names. */
export const randomName = (length: number): string => pick(lower, 1) + pick(lower + digits, length - 1);

/** `length` letters and digits; about 5.95 bits each. Needs no quoting anywhere. */
export const randomSecret = (length: number): string => pick(lower + lower.toUpperCase() + digits, length);

/** 13 characters without vowels, as routing keys look: no words by accident. Not a credential. */
export const randomRoutingKey = (): string => pick('bcdfghjklmnpqrstvwxyz0123456789', 13);
