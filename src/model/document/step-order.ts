/** The order of a workflow's steps: what a step takes from another, that one makes before. */
import type { PluginStep } from '../plugin.ts';

/** A step's name, and the names of those whose outputs it takes. */
export type StepNeeds = { readonly name: string; readonly needs: readonly string[] };

/**
 * Layers of steps: all of a layer may run at once, after all of the layers before. Steps that are not among
 * `steps` have run already and take no part.
 * @param steps of one workflow of a checked plugin
 */
export function stepOrder(steps: readonly PluginStep[]): readonly (readonly PluginStep[])[] {
  const { layers, rest } = layer(
    steps.map(step => ({
      step,
      name: step.name,
      needs: (step.inputs ?? []).flatMap(input => input.valueFromStep?.name ?? []),
    })),
  );
  if (rest.length > 0) throw new TypeError(`no order for steps in a circle: ${findCycle(rest)?.join(' → ')}`);
  return layers.map(nodes => nodes.map(node => node.step));
}

/** The names of steps that wait for each other, the first one again at the end; undefined when there are none. */
export function findCycle(steps: readonly StepNeeds[]): readonly string[] | undefined {
  const { rest } = layer(steps);
  const byName = new Map(rest.map(step => [step.name, step]));
  // Each of the rest needs another one of the rest, so the walk must meet a step again.
  const walk: string[] = [];
  let next = rest[0];
  while (next !== undefined && !walk.includes(next.name)) {
    walk.push(next.name);
    next = byName.get(next.needs.find(name => byName.has(name)) ?? '');
  }
  return next === undefined ? undefined : [...walk.slice(walk.indexOf(next.name)), next.name];
}

// --- internal -----------------------------------------------------------------------------------

/** `rest` is what waits for itself, directly or not. */
function layer<S extends StepNeeds>(
  steps: readonly S[],
): { readonly layers: readonly S[][]; readonly rest: readonly S[] } {
  const layers: S[][] = [];
  let rest = steps;
  for (;;) {
    const waiting = new Set(rest.map(step => step.name));
    const isReady = (step: S) => !step.needs.some(name => waiting.has(name));
    const ready = rest.filter(isReady);
    if (ready.length === 0) return { layers, rest };
    layers.push(ready);
    rest = rest.filter(step => !isReady(step));
  }
}
