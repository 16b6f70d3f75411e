/** What must hold across a plugin document: unique names, inputs that come from somewhere, no circles. */
import { posix } from 'node:path';
import type { OffshootError } from '../errors.ts';
import { similarName } from '../names.ts';
import { type BuiltinAction, builtinInputs, builtinOutputs } from '../plugin.ts';
import { runnerTemplate } from '../pod-overlay.ts';
import { type ItemOf, isMalformed, type Loose, names, placed, unique } from './loose.ts';
import type { PluginDocument } from './plugin-schema.ts';
import type { Finding, Path } from './problem.ts';
import { findCycle } from './step-order.ts';

type Document = Loose<PluginDocument>;
type Step = ItemOf<NonNullable<Document['spec']>['create']>;
type Input = ItemOf<Step['inputs']>;
type Workflow = 'create' | 'delete';
type PlacedStep = { readonly step: Step; readonly workflow: Workflow; readonly path: Path };

const WORKFLOWS = ['create', 'delete'] as const;

export function pluginRules({ spec = {} }: Document): readonly Finding[] {
  const isComplete = !WORKFLOWS.some(workflow => isMalformed(spec, workflow));
  const steps = WORKFLOWS.flatMap(workflow =>
    placed(spec[workflow], ['spec', workflow]).map(({ item, path }) => ({ step: item, workflow, path })),
  );
  const stepNames = steps.map(({ step, path }) => ({ text: step.name, path: [...path, 'name'] }));
  return [
    ...unique(stepNames, 'step name'),
    ...steps.flatMap(({ step, workflow, path }) => [
      ...unique(names(step.inputs, [...path, 'inputs']), 'input name'),
      ...unique(names(step.outputs, [...path, 'outputs']), 'output name'),
      ...placed(step.inputs, [...path, 'inputs']).flatMap(({ item, path }) =>
        isComplete ? sourceFindings(item, path, workflow, steps) : [],
      ),
      ...(step.script === undefined ? [] : scriptFindings(step, path)),
      ...(step.uses === undefined ? [] : usesFindings(step, path, step.uses)),
    ]),
    ...WORKFLOWS.flatMap(workflow => cycleFindings(steps.filter(step => step.workflow === workflow))),
    ...overlayFindings(spec.runner),
  ];
}

// --- internal -----------------------------------------------------------------------------------

function overlayFindings(runner: NonNullable<Document['spec']>['runner']): readonly Finding[] {
  const { image, podTemplateOverlay } = runner ?? {};
  if (podTemplateOverlay === undefined) return [];
  const path = ['spec', 'runner', 'podTemplateOverlay'];
  try {
    runnerTemplate({ ...(image !== undefined && { image }), podTemplateOverlay }, 'any');
    return [];
  } catch (error) {
    return [{ path, message: String((error as OffshootError).params.why) }];
  }
}

/** A create step takes from create steps; a delete step also from create steps, which ran long ago. */
function sourceFindings(
  input: Input,
  path: Path,
  workflow: Workflow,
  steps: readonly PlacedStep[],
): Finding[] {
  const { name, output } = input.valueFromStep ?? {};
  const known = steps.map(({ step }) => step.name);
  if (name === undefined || output === undefined || known.includes(undefined)) return [];
  const at = [...path, 'valueFromStep'];
  const source = steps.find(({ step }) => step.name === name);
  if (source === undefined) {
    const suggestion = similarName(name, known as string[]);
    return [{ path: [...at, 'name'], message: `there is no step "${name}"`, suggestion }];
  }
  if (workflow === 'create' && source.workflow === 'delete') {
    const message = `a create step cannot take an output of the delete step "${name}"`;
    return [{ path: [...at, 'name'], message }];
  }
  const outputs = outputNames(source.step);
  if (isMalformed(source.step, 'outputs') || outputs.includes(undefined)) return [];
  return unknown(output, outputs as string[], [...at, 'output'], `step "${name}" has no output`);
}

/** A built-in step that lists no outputs has all that its action has. */
function outputNames(step: Step): readonly (string | undefined)[] {
  if (step.uses !== undefined && step.outputs === undefined) return builtinOutputs[step.uses];
  return (step.outputs ?? []).map(output => output?.name);
}

function scriptFindings(step: Step, path: Path): readonly Finding[] {
  const inputs = placed(step.inputs, [...path, 'inputs']);
  const variables = inputs.map(({ item, path }) => ({ text: inputEnv(item), path }));
  const files = inputs.map(({ item, path }) => ({
    text: item.as?.path === undefined ? undefined : posix.normalize(item.as.path),
    path: [...path, 'as', 'path'],
  }));
  const sources = placed(step.outputs, [...path, 'outputs']).filter(
    ({ item }) => !Object.hasOwn(item, 'valueFromPath'),
  );
  return [
    ...unique(variables, 'environment variable'),
    ...unique(files, 'input path'),
    ...sources.map(({ path }) =>
      atKey([...path, 'valueFromPath'], 'missing field "valueFromPath": the file that holds the output'),
    ),
  ];
}

/** The variable that carries an input, unless it is only written to a file. */
function inputEnv({ name, as }: Input): string | undefined {
  if (as?.env !== undefined) return as.env;
  return as?.path === undefined ? name?.toUpperCase().replaceAll('-', '_') : undefined;
}

/** Inputs and outputs of a built-in step are the action's own, passed without variables and files. */
function usesFindings(step: Step, path: Path, action: BuiltinAction): Finding[] {
  const meaningless = (at: Path, field: string, value: unknown) =>
    value === undefined
      ? []
      : [atKey([...at, field], `"${field}" has no meaning in a step that uses "${action}"`)];
  return [
    ...placed(step.inputs, [...path, 'inputs']).flatMap(({ item, path }) => [
      ...unknown(item.name, builtinInputs[action], [...path, 'name'], `"${action}" has no input`),
      ...meaningless(path, 'as', item.as),
    ]),
    ...placed(step.outputs, [...path, 'outputs']).flatMap(({ item, path }) => [
      ...unknown(item.name, builtinOutputs[action], [...path, 'name'], `"${action}" has no output`),
      ...meaningless(path, 'valueFromPath', item.valueFromPath),
    ]),
  ];
}

function cycleFindings(steps: readonly PlacedStep[]): Finding[] {
  const graph = steps.flatMap(({ step: { name, inputs = [] } }) =>
    name === undefined ? [] : [{ name, needs: inputs.flatMap(input => input?.valueFromStep?.name ?? []) }],
  );
  const cycle = findCycle(graph);
  if (cycle === undefined) return [];
  const { path } = steps.find(({ step }) => step.name === cycle[0])!;
  return [{ path, message: `steps wait for each other in a circle: ${cycle.join(' → ')}` }];
}

function unknown(name: string | undefined, known: readonly string[], path: Path, what: string): Finding[] {
  if (name === undefined || known.includes(name)) return [];
  return [{ path, message: `${what} "${name}"`, suggestion: similarName(name, known) }];
}

const atKey = (path: Path, message: string): Finding => ({ path, message, at: 'key' });
