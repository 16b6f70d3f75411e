/**
 * The pod of a plugin's steps, as `runner` of the document wants it: Signadot's rules. The container of the script is
 * `main`; names that begin with `offshoot-` are ours. Pure.
 */
import { OffshootError } from './errors.ts';
import type { Container, Meta, PodSpec } from './kubernetes.ts';
import { overlayTemplate } from './patch/apply.ts';
import { isList, isObject, type Json, type JsonObject } from './patch/tree.ts';
import type { PluginSpec } from './plugin.ts';

export type RunnerTemplate = { readonly metadata: Partial<Meta>; readonly spec: PodSpec };

/** Of the container that runs the script. */
export const scriptContainer = 'main';

/**
 * @param image what runs scripts when the document names none
 * @throws OffshootError step/overlay-invalid
 */
export function runnerTemplate({ image: own, podTemplateOverlay: overlay }: Runner, image: string) {
  const main: Container = { name: scriptContainer, image: own ?? image };
  const base: RunnerTemplate = { metadata: {}, spec: { restartPolicy: 'Never', containers: [main] } };
  if (overlay === undefined) return base;
  let merged: Json;
  try {
    merged = overlayTemplate(base as unknown as Json, overlay);
  } catch (error) {
    if (!(error instanceof OffshootError)) throw error;
    throw invalid(`at ${error.params.where}: ${error.params.why}`);
  }
  const why = problemOf(merged, own);
  if (why !== undefined) throw invalid(why);
  return merged as unknown as RunnerTemplate;
}

// --- internal -----------------------------------------------------------------------------------

type Runner = NonNullable<PluginSpec['runner']>;

const invalid = (why: string): OffshootError => new OffshootError('step/overlay-invalid', { why });

function problemOf(merged: Json, image: string | undefined): string | undefined {
  const { metadata, spec, ...more } = isObject(merged) ? merged : ({} as JsonObject);
  const [stray] = Object.keys(more);
  if (stray !== undefined) return `a pod template has metadata and spec, and no "${stray}"`;
  if (!isObject(spec)) return 'its spec must be a map';
  if (metadata !== undefined && !isObject(metadata)) return 'its metadata must be a map';
  if (metadata?.name !== undefined || metadata?.namespace !== undefined)
    return 'pods of steps are named by us, and runner.namespace says where they are';
  if (spec.restartPolicy !== 'Never') return 'restartPolicy must be Never: a step is begun again by us';
  const lists = {
    containers: [] as JsonObject[],
    initContainers: [] as JsonObject[],
    volumes: [] as JsonObject[],
  };
  for (const field of ['containers', 'initContainers', 'volumes'] as const) {
    const list = spec[field] ?? [];
    if (!isList(list) || !list.every(isObject)) return `spec.${field} must be a list of maps`;
    lists[field].push(...list);
    const ours = list.find(({ name }) => typeof name === 'string' && name.startsWith('offshoot-'));
    if (ours !== undefined) return `the name "${String(ours.name)}" in spec.${field} is reserved`;
  }
  const main = lists.containers.find(({ name }) => name === scriptContainer);
  if (main === undefined) return `the container "${scriptContainer}", which runs the script, must stay`;
  if (image !== undefined && main.image !== image)
    return `its image of "${scriptContainer}" is not that of runner.image`;
  const unnamed = lists.containers.find(container => typeof container.image !== 'string');
  if (unnamed !== undefined) return `the container "${String(unnamed.name)}" has no image`;
  return undefined;
}
