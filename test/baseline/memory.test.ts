import { baselineConformance } from '../conformance/baseline.ts';
import { memoryBaseline } from '../support/memory-baseline.ts';

baselineConformance(async () => {
  const { baseline, put, change, remove } = memoryBaseline();
  return {
    baseline,
    deploy: async (...manifests) => manifests.forEach(put),
    status: async (name, status) => change(name, { status }),
    mark: async name => change(name, { deleting: true }),
    remove: async name => remove(name),
    async [Symbol.asyncDispose]() {},
  };
});
