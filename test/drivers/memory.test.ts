/** What tests of the control plane use in place of drivers keeps the same contracts. */

import { stepDriverConformance } from '../conformance/step-driver.ts';
import { workloadDriverConformance } from '../conformance/workload-driver.ts';
import { memorySteps } from '../support/memory-steps.ts';
import { memoryWorkloads } from '../support/memory-workloads.ts';
import { Trouble } from '../support/trouble.ts';
import { specOf } from '../support/workload.ts';

workloadDriverConformance('in memory', async () => {
  const { workloads, workloadsOf } = memoryWorkloads(new Trouble());
  return {
    driver: workloads,
    spec: word => specOf({ command: ['echo', word] }),
    answers: async ({ port }) =>
      [...workloadsOf.values()].some(({ seen }) => seen.ports[3000]?.some(p => p.port === port)),
    [Symbol.asyncDispose]: () => workloads.close(),
  };
});

stepDriverConformance('in memory', async () => {
  const trouble = new Trouble();
  const { steps } = memorySteps(trouble);
  const spec = (script: string) => ({
    script,
    inputs: [],
    outputs: [{ name: 'value', valueFromPath: 'value' }],
    env: {},
    keep: [],
  });
  return {
    steps,
    echo: word => ({ ...spec('output value $word'), inputs: [{ name: 'word', value: word }] }),
    silent: () => spec('make nothing'),
    failing: () => spec('fail'),
    endless(id) {
      trouble.hang(`steps.run ${id}`);
      return spec('output value late');
    },
    [Symbol.asyncDispose]: async () => {},
  };
});
