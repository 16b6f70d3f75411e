/** Writes ASN.1 values by the Distinguished Encoding Rules (ITU-T X.690), as many kinds of them as certificates need. */

/** Tag, length in the shortest form (§8.1.3), content. */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  if (length > 0xffff) throw new RangeError(`a value of ${length} bytes`);
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length, ...bytes]), content]);
}

export const sequence = (...items: readonly Uint8Array[]): Buffer => tlv(0x30, ...items);
export const set = (...items: readonly Uint8Array[]): Buffer => tlv(0x31, ...items);
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text));
export const octets = (...content: readonly Uint8Array[]): Buffer => tlv(0x04, ...content);
export const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.from([value ? 0xff : 0]));
/** `[n]` around whole values. */
export const explicit = (n: number, ...items: readonly Uint8Array[]): Buffer => tlv(0xa0 + n, ...items);
/** `[n]` in the place of a value's own tag. */
export const implicit = (n: number, content: Uint8Array): Buffer => tlv(0x80 + n, content);

/** @param magnitude of a number that is not negative, most significant byte first */
export function integer(magnitude: Uint8Array): Buffer {
  let from = 0;
  while (from < magnitude.length - 1 && magnitude[from] === 0) from++;
  const digits = magnitude.subarray(from);
  return tlv(0x02, Buffer.from((digits[0] ?? 0) >= 0x80 ? [0] : []), digits);
}

/** @param bits the first is bit 0 of a NamedBitList; zeros at the end are left out (§11.2.2) */
export function bits(bits: readonly (0 | 1)[]): Buffer {
  const used = bits.lastIndexOf(1) + 1;
  const bytes = Buffer.alloc(Math.ceil(used / 8));
  for (let i = 0; i < used; i++) if (bits[i] === 1) bytes[i >> 3]! |= 0x80 >> (i & 7);
  return tlv(0x03, Buffer.from([bytes.length * 8 - used]), bytes);
}

/** Whole bytes. */
export const bitString = (content: Uint8Array): Buffer => tlv(0x03, Buffer.from([0]), content);

/** @param text numbers with dots between them */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...others] = text.split('.').map(Number);
  const base128 = (n: number): number[] => {
    const digits = [n & 0x7f];
    for (let rest = n >>> 7; rest > 0; rest >>>= 7) digits.unshift(0x80 | (rest & 0x7f));
    return digits;
  };
  return tlv(0x06, Buffer.from([first * 40 + second, ...others].flatMap(base128)));
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(at: Date): Buffer {
  const text = `${at.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return at.getUTCFullYear() < 2050 ? tlv(0x17, Buffer.from(text.slice(2))) : tlv(0x18, Buffer.from(text));
}
