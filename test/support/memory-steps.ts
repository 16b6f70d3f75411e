/**
 * Steps in memory: scripts of lines `make THING`, `remove THING`, `output NAME VALUE` and `fail`, where `$NAME` is an
 * input or a variable. A script that fails or hangs has made its things already.
 */
import type { StepDriver, StepSpec } from '../../src/drivers/contract.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { Trouble } from './trouble.ts';

export type MemorySteps = {
  readonly steps: StepDriver;
  /** What scripts made and did not remove. */
  readonly things: Set<string>;
  /** Ids of the steps that came to their end, in that order. */
  readonly stepsDone: string[];
  /** Steps that run. */
  readonly stepsRunning: Set<string>;
};

export function memorySteps(trouble: Trouble): MemorySteps {
  const things = new Set<string>();
  const stepsDone: string[] = [];
  const stepsRunning = new Set<string>();
  const kills = new Map<string, AbortController>();
  const steps: StepDriver = {
    name: 'memory',
    capabilities: async () => [],
    pathProblem: async path => (path.startsWith('..') ? 'it leads out of the working directory' : undefined),
    async run(id, spec, ctx) {
      const step = id.split('.').at(-1)!;
      const killed = new AbortController();
      stepsRunning.add(id);
      kills.set(id, killed);
      try {
        const outputs = interpret(step, spec, things);
        await trouble.meet('steps.run', id, { ...ctx, signal: AbortSignal.any([ctx.signal, killed.signal]) });
        stepsDone.push(id);
        return { outputs };
      } catch (error) {
        if (killed.signal.aborted) throw new OffshootError('step/failed', { step, how: 'signal SIGKILL' });
        if (ctx.signal.aborted) throw new OffshootError('step/timeout', { step }, { cause: error });
        throw error;
      } finally {
        if (kills.get(id) === killed) stepsRunning.delete(id);
      }
    },
    async remove(id, ctx) {
      await trouble.meet('steps.remove', id, ctx);
      kills.get(id)?.abort();
      stepsRunning.delete(id);
    },
    async list(ctx) {
      await trouble.meet('steps.list', '', ctx);
      return [...stepsRunning];
    },
  };
  return { steps, things, stepsDone, stepsRunning };
}

// --- internal -----------------------------------------------------------------------------------

function interpret(
  step: string,
  { script, inputs, env, outputs: declared }: StepSpec,
  things: Set<string>,
): Record<string, string> {
  const values: Record<string, string> = {
    ...env,
    ...Object.fromEntries(inputs.map(i => [i.name, i.value])),
  };
  const outputs: Record<string, string> = {};
  for (const line of script.split('\n')) {
    const [verb, name = '', value = ''] = line
      .split(' ')
      .map(word => word.replace(/\$(\w+)/g, (_, variable: string) => values[variable] ?? ''));
    if (verb === 'make') things.add(name);
    else if (verb === 'remove') things.delete(name);
    else if (verb === 'output') outputs[name] = value;
    else if (verb === 'fail') throw new OffshootError('step/failed', { step, how: 'exit code 1' });
    else throw new Error(`the script says ${line}`);
  }
  const missing = declared.find(output => outputs[output.name] === undefined);
  if (missing !== undefined)
    throw new OffshootError('step/output-missing', {
      step,
      output: missing.name,
      path: missing.valueFromPath,
    });
  return outputs;
}
