import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { baselineConformance } from '../conformance/baseline.ts';
import { deploy } from '../support/documents.ts';

baselineConformance(async () => {
  const store = memoryStore();
  return {
    baseline: storeBaseline(store),
    async deploy(...manifests) {
      await deploy(store, ...manifests);
    },
    async status(name, status) {
      await store.modify('manifest', name, () => ({ status }));
    },
    async mark(name) {
      await store.modify('manifest', name, () => ({ deleted: true }));
    },
    remove: name => store.remove('manifest', name),
    [Symbol.asyncDispose]: () => store.close(),
  };
});
