/** What deploying would change, as a unified diff of the objects as they are kept. */
import type { ManifestPlan } from '../client/index.ts';
import { lineDiff } from '../lib/line-diff.ts';
import type { Manifest } from '../model/kubernetes.ts';
import type { ManifestView, PlannedManifestView } from '../model/view.ts';
import { yaml as yamlPackage } from '../model/yaml-package.ts';

/** @returns '' when nothing would be changed */
export function text({ planned, pruned }: ManifestPlan): string {
  const unchanged = planned.filter(({ outcome }) => outcome === 'unchanged').length;
  const parts = [
    ...planned.filter(({ outcome }) => outcome !== 'unchanged').map(changed),
    ...pruned.map(m => `- ${nameOf(m)} would be removed`),
    `${planned.length - unchanged} would be changed, ${pruned.length} removed, ${unchanged} stay as they are`,
  ];
  return `${parts.join('\n')}\n`;
}

// --- internal -----------------------------------------------------------------------------------

function changed(object: PlannedManifestView): string {
  const { before, after } = object;
  const name = nameOf(object);
  const head = [`--- ${before === undefined ? '/dev/null' : name}`, `+++ ${name}`];
  return [
    ...head,
    ...lineDiff(before === undefined ? '' : yaml(before), after === undefined ? '' : yaml(after)),
  ].join('\n');
}

const nameOf = ({ kind, namespace, name }: PlannedManifestView | ManifestView): string =>
  [kind, namespace, name].filter(part => part !== '').join('/');

/** Two equal objects are one text: keys have an order. */
const yaml = (manifest: Manifest): string =>
  yamlPackage().stringify(manifest, { aliasDuplicateObjects: false, sortMapEntries: true, lineWidth: 0 });
