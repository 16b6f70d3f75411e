/** The `env` customizations of a fork: what each operation makes of a container's list of variables. */
import { literal } from './container-env.ts';
import { OffshootError } from './errors.ts';
import type { EnvVar } from './kubernetes.ts';
import { similarName } from './names.ts';
import type { EnvOperation, Fork, ValueFrom, WorkloadKey } from './sandbox.ts';

/** Where a fork answers, with the names that expressions use. */
export type ForkService = { readonly Host: string; readonly Port: number };

/** What values may come from, apart from ConfigMaps and Secrets, to which the variable only refers. */
export type EnvSources = {
  /** By resource name, then by `step.output`. */
  readonly resourceOutputs: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** The Service address of another fork of the same sandbox; undefined when there is none. */
  readonly forkServices: (forkOf: WorkloadKey) => ForkService | undefined;
};

/**
 * Applies one operation. An upsert keeps the place of the first variable of that name, or appends; either way no
 * second one of that name remains. Deleting what is not there is no error.
 * @param path where the operation stands, for messages
 * @throws OffshootError fork/output-missing, fork/reference-missing, fork/expression-invalid
 */
export function changeEnv(
  env: readonly EnvVar[],
  operation: EnvOperation,
  sources: EnvSources,
  path: string,
): readonly EnvVar[] {
  const { name } = operation;
  const others = env.filter(variable => variable.name !== name);
  if (operation.operation === 'delete') return others;
  const first = env.findIndex(variable => variable.name === name);
  return others.toSpliced(first < 0 ? others.length : first, 0, variableOf(operation, sources, path));
}

/** A fork as it is known before its resources are there: what will come from elsewhere leads to nothing yet. */
export function withoutOutputs(fork: Fork): Fork {
  const { customizations = {} } = fork;
  const env = customizations.env?.map(({ valueFrom, ...operation }) =>
    valueFrom === undefined || 'configMap' in valueFrom || 'secret' in valueFrom
      ? { ...operation, ...(valueFrom && { valueFrom }) }
      : { ...operation, value: '' },
  );
  return { ...fork, customizations: { ...customizations, ...(env && { env }) } };
}

// --- internal -----------------------------------------------------------------------------------

function variableOf({ name, value, valueFrom }: EnvOperation, sources: EnvSources, path: string): EnvVar {
  if (valueFrom === undefined) return { name, value: value ?? '' };
  if ('configMap' in valueFrom) return { name, valueFrom: { configMapKeyRef: { ...valueFrom.configMap } } };
  if ('secret' in valueFrom) return { name, valueFrom: { secretKeyRef: { ...valueFrom.secret } } };
  if ('fork' in valueFrom) return { name, value: forkExpression(valueFrom.fork, sources, path) };
  // An output is data: a `$(…)` in a password is not a reference.
  return { name, value: literal(resourceOutput(valueFrom.resource, sources, path)) };
}

function resourceOutput(
  { name, outputKey }: Extract<ValueFrom, { resource: unknown }>['resource'],
  { resourceOutputs }: EnvSources,
  path: string,
): string {
  const outputs = Object.hasOwn(resourceOutputs, name) ? resourceOutputs[name]! : {};
  if (Object.hasOwn(outputs, outputKey)) return outputs[outputKey]!;
  const known = Object.keys(outputs);
  throw new OffshootError('fork/output-missing', {
    path,
    resource: name,
    output: outputKey,
    outputs: known.join(', '),
    similar: similarName(outputKey, known),
  });
}

/** Signadot expands a Go template here; of it we know the two fields that its documentation uses. */
function forkExpression(
  { forkOf, expression }: Extract<ValueFrom, { fork: unknown }>['fork'],
  { forkServices }: EnvSources,
  path: string,
): string {
  const service = forkServices(forkOf);
  if (service === undefined) {
    const workload = `${forkOf.kind} ${forkOf.namespace}/${forkOf.name}`;
    throw new OffshootError('fork/reference-missing', { path, workload });
  }
  // The second alternative is an action that is never closed.
  return expression.replace(/\{\{(.*?)\}\}|\{\{.*/gs, (part, action: string | undefined) => {
    const field = action?.trim();
    if (field === '.Service.Host') return service.Host;
    if (field === '.Service.Port') return String(service.Port);
    throw new OffshootError('fork/expression-invalid', { path: `${path}.valueFrom.fork.expression`, part });
  });
}
