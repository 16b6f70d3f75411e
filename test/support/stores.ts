/**
 * Tests that run twice: with the plain store in memory, and with one that is as unhelpful as the contract allows (see
 * adverse-store.ts). They take their `it` and their store from here. With `itEverywhere` they run a third time, with the
 * store on the objects of a (fake) cluster, which takes 30 ms more.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { it as once, type TestContext } from 'node:test';
import type { Store } from '../../src/store/contract.ts';
import { type MemoryOptions, memoryStore } from '../../src/store/memory.ts';
import { adverseStore } from './adverse-store.ts';
import { kubernetesStore } from './kubernetes-store.ts';

export function it(name: string, body: (t: TestContext) => Promise<void>): void {
  once(name, body);
  once(`${name} [adverse store]`, t => stores.run(adverse(seedOf(name)), () => body(t)));
}

export function itEverywhere(name: string, body: (t: TestContext) => Promise<void>): void {
  it(name, body);
  once(`${name} [store on a cluster]`, async t => {
    let now = () => new Date();
    await using store = await kubernetesStore({ now: () => now() });
    const given: StoreMaker = options => {
      now = options.now ?? now;
      return store;
    };
    await stores.run(given, () => body(t));
  });
}

/** The store that the running test is for. */
export const testStore = (options: Pick<MemoryOptions, 'now'> = {}): Store =>
  (stores.getStore() ?? memoryStore)(options);

// --- internal -----------------------------------------------------------------------------------

type StoreMaker = (options: Pick<MemoryOptions, 'now'>) => Store;

const stores = new AsyncLocalStorage<StoreMaker>();

const adverse =
  (seed: number): StoreMaker =>
  options =>
    adverseStore(memoryStore(options), seed);

/** The same for every run; TEST_SEED tries another fortune. */
const seedOf = (name: string): number =>
  [...`${process.env.TEST_SEED ?? ''}${name}`].reduce((hash, c) => (hash * 31 + c.charCodeAt(0)) >>> 0, 7);
