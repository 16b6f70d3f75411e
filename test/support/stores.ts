/**
 * Tests that run twice: with the plain store in memory, and with one that is as unhelpful as the contract allows (see
 * adverse-store.ts). They take their `it` and their store from here.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { it as once, type TestContext } from 'node:test';
import type { Store } from '../../src/store/contract.ts';
import { type MemoryOptions, memoryStore } from '../../src/store/memory.ts';
import { adverseStore } from './adverse-store.ts';

export function it(name: string, body: (t: TestContext) => Promise<void>): void {
  once(name, body);
  once(`${name} [adverse store]`, t => seeds.run(seedOf(name), () => body(t)));
}

/** The store that the running test is for. */
export function testStore(options: Pick<MemoryOptions, 'now'> = {}): Store {
  const seed = seeds.getStore();
  const store = memoryStore(options);
  return seed === undefined ? store : adverseStore(store, seed);
}

// --- internal -----------------------------------------------------------------------------------

const seeds = new AsyncLocalStorage<number>();

/** The same for every run; TEST_SEED tries another fortune. */
const seedOf = (name: string): number =>
  [...`${process.env.TEST_SEED ?? ''}${name}`].reduce((hash, c) => (hash * 31 + c.charCodeAt(0)) >>> 0, 7);
