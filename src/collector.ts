/**
 * Entry of what reads a step's outputs in its pod, when the script has ended: it tells them sealed, in the log of its
 * container, to whoever has the key. Nothing in the pod needs a right in the cluster, or a way to us.
 */
import { readFileSync } from 'node:fs';
import { readOutputs } from './drivers/step/outputs.ts';
import { seal } from './lib/sealed.ts';
import { OffshootError } from './model/errors.ts';
import type { CollectedOutputs, OutputPlan } from './model/step-outputs.ts';

const folder = '/offshoot/collect';
void collect();

/** No `await` at the top: a bundle is no module. */
async function collect(): Promise<void> {
  const plan = JSON.parse(readFileSync(`${folder}/outputs`, 'utf8')) as OutputPlan;
  const outputs: Record<string, string> = {};
  let failure: CollectedOutputs['failure'];
  for (const output of plan.outputs)
    try {
      Object.assign(outputs, await readOutputs(plan.step, [output], () => output.file));
    } catch (error) {
      if (!(error instanceof OffshootError)) throw error;
      failure ??= { code: error.code, params: error.params };
    }
  const collected: CollectedOutputs = { outputs, ...(failure && { failure }) };
  for (const line of seal(readFileSync(`${folder}/seal-key`, 'utf8'), JSON.stringify(collected)))
    process.stdout.write(`${line}\n`);
}
