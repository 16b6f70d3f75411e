/** What must hold across a sandbox document: names that are unique, and references that lead somewhere. */
import { previewLabel, similarName } from '../names.ts';
import { type ItemOf, isMalformed, type Loose, type Named, names, placed, unique } from './loose.ts';
import type { Finding, Path } from './problem.ts';
import type { SandboxDocument } from './sandbox-schema.ts';
import { parseYaml } from './yaml.ts';

type Document = Loose<SandboxDocument>;
type Spec = NonNullable<Document['spec']>;
type Fork = ItemOf<Spec['forks']>;
type Customizations = NonNullable<Fork['customizations']>;
type ValueFrom = ItemOf<Customizations['env']>['valueFrom'];

export function sandboxRules({ name, spec = {} }: Document): readonly Finding[] {
  const forks = placed(spec.forks, ['spec', 'forks']);
  const locals = placed(spec.local, ['spec', 'local']);
  const endpoints = [
    ...names(spec.defaultRouteGroup?.endpoints, ['spec', 'defaultRouteGroup', 'endpoints']),
    ...names(spec.endpoints, ['spec', 'endpoints']),
    ...forks.flatMap(({ item, path }) => names(item.endpoints, [...path, 'endpoints'])),
  ];
  const workloads = [
    ...names(spec.forks, ['spec', 'forks']),
    ...names(spec.local, ['spec', 'local']),
    ...names(spec.virtual, ['spec', 'virtual']),
  ];
  const baselines = [
    ...forks.map(({ item, path }) => ({ text: workloadText(item.forkOf), path: [...path, 'forkOf'] })),
    ...locals.map(({ item, path }) => ({ text: workloadText(item.from), path: [...path, 'from'] })),
  ];
  const env = [
    ...forks.flatMap(({ item, path }) =>
      placed(item.customizations?.env, [...path, 'customizations', 'env']),
    ),
    ...locals.flatMap(({ item, path }) => placed(item.env, [...path, 'env'])),
  ];
  const files = locals.flatMap(({ item, path }) => placed(item.files, [...path, 'files']));
  return [
    ...unique(endpoints, 'endpoint name'),
    ...unique(workloads, 'workload name'),
    ...unique(baselines, 'baseline workload'),
    ...unique(names(spec.resources, ['spec', 'resources']), 'resource name'),
    ...endpoints.flatMap(endpoint => previewFindings(endpoint, name)),
    ...[...env, ...files].flatMap(({ item, path }) =>
      resourceFindings(item.valueFrom?.resource, [...path, 'valueFrom'], spec),
    ),
    ...env.flatMap(({ item, path }) => forkFindings(item.valueFrom, [...path, 'valueFrom'], spec)),
    ...forks.flatMap(({ item, path }) =>
      patchFindings(item.customizations?.patch, [...path, 'customizations', 'patch']),
    ),
  ];
}

// --- internal -----------------------------------------------------------------------------------

function workloadText(workload: Fork['forkOf']): string | undefined {
  if (workload?.kind === undefined || workload.namespace === undefined || workload.name === undefined)
    return undefined;
  const kind = workload.kind === 'ArgoRollout' ? 'Rollout' : workload.kind;
  return `${kind} ${workload.namespace}/${workload.name}`;
}

/** The preview host's first label must be a DNS label (RFC 1035 section 2.3.4). */
function previewFindings({ text, path }: Named, sandbox: string | undefined): Finding[] {
  if (text === undefined || sandbox === undefined) return [];
  const label = previewLabel(text, sandbox);
  if (label.length <= 63) return [];
  return [
    { path, message: `the preview host label "${label}" has ${label.length} characters, the most is 63` },
  ];
}

function resourceFindings(
  resource: { readonly name?: string | undefined } | undefined,
  path: Path,
  spec: Spec,
): Finding[] {
  if (resource?.name === undefined || isMalformed(spec, 'resources')) return [];
  const declared = (spec.resources ?? []).map(r => r?.name);
  // With a name that could not be read among them, nobody knows what is declared.
  if (declared.includes(undefined) || declared.includes(resource.name)) return [];
  return [
    {
      path: [...path, 'resource', 'name'],
      message: `this sandbox has no resource "${resource.name}"`,
      suggestion: similarName(resource.name, declared as string[]),
    },
  ];
}

function forkFindings(from: ValueFrom, path: Path, spec: Spec): Finding[] {
  const wanted = workloadText(from?.fork?.forkOf);
  if (wanted === undefined || isMalformed(spec, 'forks')) return [];
  const forks = (spec.forks ?? []).map(fork => workloadText(fork?.forkOf));
  if (forks.includes(undefined) || forks.includes(wanted)) return [];
  return [{ path: [...path, 'fork', 'forkOf'], message: `this sandbox has no fork of ${wanted}` }];
}

/** The text of a patch is a document of its own: a list of operations for JSON patches, else an object. */
function patchFindings(patch: Customizations['patch'], path: Path): Finding[] {
  if (patch?.value === undefined || patch.type === undefined || patch.type.startsWith('signadot/')) return [];
  const report = (message: string) => [{ path: [...path, 'value'], message }];
  const { documents, errors } = parseYaml(patch.value);
  const error = errors[0];
  if (error !== undefined) {
    const place = error.line === undefined ? '' : ` (line ${error.line} of the patch)`;
    return report(`the patch is not valid YAML: ${error.message}${place}`);
  }
  const value = documents[0]?.value;
  const isList = Array.isArray(value);
  const fits = patch.type === 'json' ? isList : typeof value === 'object' && !isList;
  if (documents.length === 1 && fits) return [];
  return report(
    `a patch of type "${patch.type}" is ${patch.type === 'json' ? 'a list of operations' : 'an object'}`,
  );
}
