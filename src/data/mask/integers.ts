/**
 * Integers that stand for others: a permutation, so that two never become the same, and one that is the same for all widths, so that
 * a key of 32 bits still points at one of 64. Values of up to 15, 31 and 63 bits change places among themselves. A Feistel network
 * of four rounds (Luby and Rackoff), walked until it is back among them.
 */
import type { Draw } from './secret.ts';

/** @param text of a value of smallint, integer or bigint */
export function permuted(text: string, draw: Draw): string {
  const value = BigInt(text);
  const magnitude = value < 0n ? -1n - value : value;
  const range = RANGES.find(({ end }) => magnitude < end)!;
  let [high, low] = [Number(magnitude >> range.half), Number(magnitude & range.mask)];
  for (;;) {
    for (let round = 0; round < ROUNDS; round++) {
      const digest = draw.digest(`${range.half}${value < 0n ? '-' : '+'}${round}`, String(low));
      const word =
        digest.charCodeAt(0) * 0x1000000 +
        digest.charCodeAt(1) * 0x10000 +
        digest.charCodeAt(2) * 0x100 +
        digest.charCodeAt(3);
      [high, low] = [low, ((high ^ word) & range.mask32) >>> 0];
    }
    const found = (BigInt(high) << range.half) | BigInt(low);
    if (found >= range.begin && found < range.end) return String(value < 0n ? -1n - found : found);
  }
}

// --- internal -----------------------------------------------------------------------------------

const ROUNDS = 4;

const range = (half: bigint, begin: bigint, end: bigint) => ({
  ...{ half, begin, end },
  mask: (1n << half) - 1n,
  mask32: Number(BigInt.asIntN(32, (1n << half) - 1n)),
});

const RANGES = [range(8n, 0n, 2n ** 15n), range(16n, 2n ** 15n, 2n ** 31n), range(32n, 2n ** 31n, 2n ** 63n)];
