/** Reading a resource plugin document: text or value to a checked, frozen `ResourcePlugin`. */

import { deepFreeze } from '../freeze.ts';
import { builtinOutputs, type PluginSpec, type ResourcePlugin } from '../plugin.ts';
import { checkDraft, type DocumentKind, type Draft, readDraft } from './draft.ts';
import { completePluginName } from './plugin-name.ts';
import { pluginRules } from './plugin-rules.ts';
import { type PluginDocument, pluginSchema } from './plugin-schema.ts';
import type { TemplateOptions } from './template.ts';
import type { Source } from './yaml.ts';

export { stepOrder } from './step-order.ts';

/**
 * Reads the one resource plugin of a YAML or JSON text. The version in its name is completed, the result
 * deeply frozen.
 * @throws OffshootError document/invalid with every problem and its place
 */
export function readResourcePlugin(source: Source, options: TemplateOptions = {}): ResourcePlugin {
  return check(readDraft(source, options));
}

/**
 * The same for a value that was no file, such as the body of a request. Problems have no line and column.
 * @param file what problems call it
 */
export function checkResourcePlugin(value: unknown, file = 'the resource plugin'): ResourcePlugin {
  return check({ file, value, findings: [] });
}

/** `step.output` of all create steps: what a sandbox may name as `outputKey`. */
export function outputKeys(spec: PluginSpec): readonly string[] {
  return (spec.create ?? []).flatMap(step => {
    const names = step.outputs?.map(output => output.name) ?? (step.uses ? builtinOutputs[step.uses] : []);
    return names.map(name => `${step.name}.${name}`);
  });
}

// --- internal -----------------------------------------------------------------------------------

const kind: DocumentKind<PluginDocument> = { schema: pluginSchema, rules: pluginRules };

function check(draft: Draft): ResourcePlugin {
  const { name, spec } = checkDraft(kind, draft);
  return deepFreeze({ name: completePluginName(name), spec } as ResourcePlugin);
}
