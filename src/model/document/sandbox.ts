/** Reading a sandbox document: text or value to a checked, frozen `Sandbox`. */
import { z } from 'zod';
import { deepFreeze } from '../freeze.ts';
import type { Sandbox } from '../sandbox.ts';
import { checkDraft, type DocumentKind, type Draft, readDraft, USER_MAPS } from './draft.ts';
import { completePluginName } from './plugin-name.ts';
import { type Finding, formatProblem, type Path, toProblem } from './problem.ts';
import { sandboxRules } from './sandbox-rules.ts';
import { type SandboxDocument, sandboxSchema } from './sandbox-schema.ts';
import { sandboxUnsupported } from './sandbox-unsupported.ts';
import { mapChildren } from './shape.ts';
import { expandTemplate, type TemplateOptions } from './template.ts';
import { readDocument, type Source } from './yaml.ts';

export type CheckedSandbox = {
  /** Deeply frozen. */
  readonly sandbox: Sandbox;
  /** Sentences about parts that have no effect. */
  readonly warnings: readonly string[];
};

/**
 * Reads the one sandbox document of a YAML or JSON text.
 * @throws OffshootError document/invalid or document/not-supported with every problem and its place
 */
export function readSandbox(source: Source, options: TemplateOptions = {}): CheckedSandbox {
  return check(withPortNumbers(readDraft(source, options)));
}

/**
 * The same for a value that was no file, such as the body of a request. Problems have no line and column.
 * @param file what problems call it
 */
export function checkSandbox(value: unknown, file = 'the sandbox'): CheckedSandbox {
  return check({ file, value, findings: [] });
}

/**
 * Only the name, for deleting by file: variables in the rest of the template need no values.
 * @throws OffshootError document/invalid when the text is not YAML or has no valid name
 */
export function readSandboxName(source: Source, options: TemplateOptions = {}): string {
  const { value, locate } = readDocument(source);
  const name = typeof value === 'object' && value !== null && 'name' in value ? value.name : undefined;
  const draft = { file: source.file, locate, ...expandTemplate({ name }, options) };
  return checkDraft({ schema: z.object({ name: sandboxSchema.shape.name }), rules: () => [] }, draft).name;
}

// --- internal -----------------------------------------------------------------------------------

const kind: DocumentKind<SandboxDocument> = {
  schema: sandboxSchema,
  rules: sandboxRules,
  notSupported: sandboxUnsupported,
};

function check(draft: Draft): CheckedSandbox {
  const { name, spec } = checkDraft(kind, draft);
  // What is left of the parts that are not supported is empty: see sandbox-unsupported.ts.
  const { local, virtual, middleware, routing, connection, localMachineID, ...supported } = spec;
  const { disableSandboxTrafficManager: deprecated, ...rest } = supported;
  const ttl = rest.ttl?.offsetFrom === '' ? { duration: rest.ttl.duration } : rest.ttl;
  const resources = rest.resources?.map(r => ({ ...r, plugin: completePluginName(r.plugin) }));
  const forks = rest.forks?.map(withKind);
  const changed = { ...(ttl && { ttl }), ...(resources && { resources }), ...(forks && { forks }) };
  const sandbox = { name, spec: { ...rest, ...changed } };
  return {
    // The schema checked what the type says; they differ in how they write optional fields.
    sandbox: deepFreeze(sandbox as Sandbox),
    warnings:
      deprecated === undefined ? [] : [formatProblem(toProblem(draft.file, DEPRECATED, draft.locate))],
  };
}

type ForkDocument = NonNullable<SandboxDocument['spec']['forks']>[number];

/** `ArgoRollout` is an older name of a Rollout. */
function withKind(fork: ForkDocument): ForkDocument {
  const renamed = <K extends { readonly kind: string }>(key: K) =>
    key.kind === 'ArgoRollout' ? { ...key, kind: 'Rollout' as const } : key;
  const env = fork.customizations?.env?.map(({ valueFrom, ...variable }) => {
    if (valueFrom?.fork === undefined) return { ...variable, ...(valueFrom && { valueFrom }) };
    const from = { ...valueFrom.fork, forkOf: renamed(valueFrom.fork.forkOf) };
    return { ...variable, valueFrom: { fork: from } };
  });
  const customizations = fork.customizations && { ...fork.customizations, ...(env && { env }) };
  return { ...fork, forkOf: renamed(fork.forkOf), ...(customizations && { customizations }) };
}

const DEPRECATED: Finding = {
  path: ['spec', 'disableSandboxTrafficManager'],
  message: 'has no effect: it is deprecated',
  at: 'key',
};

/**
 * A template can only put text into `port: "@{port}"`, so text that is a number becomes one, in sandboxes
 * and under the key `port` only, as in Signadot's CLI.
 */
function withPortNumbers(draft: Draft): Draft {
  const findings: Finding[] = [];
  const failed = new Set(draft.findings.map(finding => finding.path.join('\0')));
  const convert = (node: unknown, path: Path): unknown =>
    mapChildren(node, (child, step) => {
      const here = [...path, step];
      if (USER_MAPS.has(String(step))) return child;
      if (step !== 'port' || typeof child !== 'string') return convert(child, here);
      if (/^\d+$/.test(child)) return Number(child);
      if (!failed.has(here.join('\0'))) findings.push({ path: here, message: `port is not int: "${child}"` });
      return child;
    });
  const value = convert(draft.value, []);
  return { ...draft, value, findings: [...draft.findings, ...findings] };
}
