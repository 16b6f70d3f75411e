/**
 * Netlink, by which the kernel is told about its networks: the wire format, and a socket that asks and gets its answer
 * at once (netlink(7), rtnetlink(7); RFC 3549; attributes: linux/netlink.h). Numbers are in the order of this machine,
 * except where the kernel says otherwise (nf_tables).
 */
import { close } from 'node:fs';
import { constants } from 'node:os';
import type { Libc } from './libc.ts';

/** A list is nested, a text ends with a zero. */
export type Attribute = readonly [type: number, value: Buffer | string | readonly Attribute[]];

export type Message = {
  readonly type: number;
  /** Besides `request`, e.g. `create | exclusive`. */
  readonly flags?: number;
  /** The header of the family (ifinfomsg, nfgenmsg, …), a multiple of four bytes. */
  readonly header: Buffer;
  readonly attributes?: readonly Attribute[];
};

export type Answer = { readonly type: number; readonly body: Buffer };

export type Netlink = {
  /**
   * Sends messages together and returns what comes back, without the acknowledgements. Takes tenths of a millisecond.
   * @throws an error like those of node:fs, with `code`: the first that the kernel tells
   */
  ask(...messages: readonly Message[]): readonly Answer[];
  /** In its own time: the kernel lets nobody go before rules that went before are away. */
  close(): void;
};

/** Families of netlink. */
export const families = { route: 0, diag: 4, netfilter: 12 } as const;
/** Flags of a message. */
export const flags = {
  acknowledge: 0x4,
  dump: 0x300,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

/** @param calls see lib/libc.ts @returns a socket of the network that this thread is in, and it stays in that one */
export const openNetlink = (calls: Libc, family: number): Netlink => netlinkBy(calls, calls.netlink(family));

/** @param fd of a socket of netlink, wherever it was made; closed with what is returned */
export function netlinkBy(calls: Libc, fd: number): Netlink {
  const into = Buffer.alloc(RECEIVE_BYTES);
  let sequence = 0;
  return {
    ask(...messages) {
      while (calls.receive(fd, into) !== undefined); // of a request that failed half way
      calls.send(fd, Buffer.concat(messages.map(message => encode(message, ++sequence))));
      const answers: Answer[] = [];
      // The kernel has answered when `send` returns, and makes each further part of a long answer when one is taken.
      for (;;) {
        const length = calls.receive(fd, into);
        if (length === undefined) return answers;
        for (const answer of decode(into.subarray(0, length))) {
          if (answer.type === ERROR) throwIfError(answer.body);
          else if (answer.type !== DONE) answers.push({ ...answer, body: Buffer.from(answer.body) });
        }
      }
    },
    close: () => close(fd, () => {}),
  };
}

export function encode(
  { type, flags: more = 0, header, attributes = [] }: Message,
  sequence: number,
): Buffer {
  const body = Buffer.concat([header, encodeAttributes(attributes)]);
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUInt32LE(HEADER_BYTES + body.length, 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(REQUEST | more, 6);
  head.writeUInt32LE(sequence, 8);
  return Buffer.concat([head, body]);
}

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  return Buffer.concat(
    attributes.flatMap(([type, value]) => {
      const nested = !Buffer.isBuffer(value) && typeof value !== 'string';
      const content = nested
        ? encodeAttributes(value)
        : typeof value === 'string'
          ? Buffer.from(`${value}\0`)
          : value;
      const head = Buffer.alloc(4);
      head.writeUInt16LE(4 + content.length, 0);
      head.writeUInt16LE(type | (nested ? NESTED : 0), 2);
      return [head, content, Buffer.alloc(aligned(content.length) - content.length)];
    }),
  );
}

/** The messages of one datagram; what is cut off is left out. */
export function decode(datagram: Buffer): readonly Answer[] {
  const answers: Answer[] = [];
  for (let at = 0; at + HEADER_BYTES <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > datagram.length) break;
    answers.push({
      type: datagram.readUInt16LE(at + 4),
      body: datagram.subarray(at + HEADER_BYTES, at + length),
    });
    at += aligned(length);
  }
  return answers;
}

/** By type; of several of one type the last. */
export function attributesOf(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return found;
}

/** Values in the order of this machine, 32 bits. */
export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, 4 * index);
  return bytes;
}

/** In the order of the network. */
export function be32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}

/** In the order of the network. */
export const be16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);

/** A text as attributes hold it. */
export const textOf = (bytes: Buffer | undefined): string =>
  bytes === undefined ? '' : bytes.toString('utf8').replace(/\0.*$/s, '');

// --- internal -----------------------------------------------------------------------------------

// linux/netlink.h
const REQUEST = 0x1;
const ERROR = 2;
const DONE = 3;
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER_BYTES = 16;
/** The kernel makes no part of an answer longer than this. */
const RECEIVE_BYTES = 32_768;

const aligned = (length: number): number => (length + 3) & ~3;

const codes = new Map(Object.entries(constants.errno).map(([code, errno]) => [errno, code]));

/** An acknowledgement is an error with the number 0. */
function throwIfError(body: Buffer): void {
  const errno = -body.readInt32LE(0);
  if (errno === 0) return;
  const code = codes.get(errno) ?? `errno ${errno}`;
  throw Object.assign(new Error(`${code}: netlink`), { code, errno: -errno, syscall: 'netlink' });
}
