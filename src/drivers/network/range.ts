/** Which addresses are ours. Pure: IPv4 addresses as text, ranges as `10.208.16.0/20`. */
import { createHash } from 'node:crypto';

export type Range = {
  readonly text: string;
  readonly first: number;
  /** Number of leading bits that all have in common. */
  readonly bits: number;
};

/** @returns undefined when it is none; bits beyond the prefix must be zero */
export function readRange(text: string): Range | undefined {
  const [, ip = '', length = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(text) ?? [];
  const [first, bits] = [readIp(ip), Number(length)];
  if (first === undefined || length === '' || bits > 32 || first % sizeOf(bits) !== 0) return undefined;
  return rangeAt(first, bits);
}

/**
 * The parts of the machine's addresses that `instance` may take, in its order: one that has a range of its own
 * before others are full does not look like its neighbour.
 * @param pool from which each instance takes a part of 4,096 addresses, or all of a smaller one
 */
export function candidates(pool: Range, instance: string): readonly Range[] {
  const bits = Math.max(pool.bits, OWN_BITS);
  const count = sizeOf(pool.bits) / sizeOf(bits);
  const start = createHash('sha256').update(instance).digest().readUInt32BE(0) % count;
  return Array.from({ length: count }, (_, i) =>
    rangeAt(pool.first + ((start + i) % count) * sizeOf(bits), bits),
  );
}

export const overlap = (a: Range, b: Range): boolean =>
  a.first < b.first + sizeOf(b.bits) && b.first < a.first + sizeOf(a.bits);

export type Layout = {
  readonly all: Range;
  /** The bridge itself: the way out, and what pods see of this machine. */
  readonly gateway: string;
  /** For pods: the first half without the gateway. */
  readonly pods: readonly [first: number, end: number];
  /** For Services: the second half. */
  readonly services: Range;
};

export function layoutOf(all: Range): Layout {
  const half = sizeOf(all.bits) / 2;
  return {
    all,
    gateway: ipText(all.first + 1),
    pods: [all.first + 2, all.first + half],
    services: rangeAt(all.first + half, all.bits + 1),
  };
}

/** The `attempt`-th address of a Service, always the same ones in the same order. */
export function serviceAddress({ services }: Layout, key: string, attempt: number): string {
  // Neither the first nor the last, which is the broadcast address of the range.
  const count = sizeOf(services.bits) - 2;
  const start = createHash('sha256').update(key).digest().readUInt32BE(0) % count;
  return ipText(services.first + 1 + ((start + attempt) % count));
}

/** Whether a pod could have it. */
export function isPodOf({ pods: [first, end] }: Layout, ip: string): boolean {
  const value = readIp(ip) ?? 0;
  return value >= first && value < end;
}

export function ipText(value: number): string {
  return [24, 16, 8, 0].map(shift => (value >>> shift) & 0xff).join('.');
}

export function ipBytes(ip: string): Buffer {
  return Buffer.from(ip.split('.').map(Number));
}

/** @returns undefined when it is none */
export function readIp(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some(part => !/^\d{1,3}$/.test(part) || Number(part) > 255))
    return undefined;
  return parts.reduce((value, part) => value * 256 + Number(part), 0);
}

// --- internal -----------------------------------------------------------------------------------

/** 4,096 addresses for each instance. */
const OWN_BITS = 20;

const sizeOf = (bits: number): number => 2 ** (32 - bits);

const rangeAt = (first: number, bits: number): Range => ({ text: `${ipText(first)}/${bits}`, first, bits });
