/** A value against its zod schema: what is wrong with it, in our words. */
import { z } from 'zod';
import { similarName } from '../names.ts';
import type { Finding, Path } from './problem.ts';

/** Everything that is wrong with `value`, and its content typed when nothing is. */
export function checkShape<T>(
  schema: z.ZodType<T>,
  value: unknown,
): { readonly findings: readonly Finding[]; readonly data: T | undefined } {
  const result = schema.safeParse(value, { error: describeIssue });
  if (result.success) return { findings: [], data: result.data };
  return {
    findings: result.error.issues.flatMap(issue => toFindings(issue, schema, value)),
    data: undefined,
  };
}

/**
 * `key: null` means the same as no key, here as in Kubernetes. In maps whose keys are the user's own (those
 * under a key of `userMaps`) it is for `inMap` to say what it means; by default it stays, so that it is reported.
 * @param depth levels to look at: what is below that is no part of any document's schema, and bodies of
 *   requests may be nested deeper than a stack
 */
export function withoutNulls(
  value: unknown,
  userMaps: ReadonlySet<string>,
  inMap: (item: unknown) => unknown = item => item,
  depth = 100,
): unknown {
  if (depth === 0 || typeof value !== 'object' || value === null) return value;
  const below = (item: unknown) => withoutNulls(item, userMaps, inMap, depth - 1);
  if (Array.isArray(value)) return value.map(below);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null)
      .map(([key, item]) => [key, userMaps.has(key) ? mapChildren(item, inMap) : below(item)]),
  );
}

/** Applies `change` to each item of a list or field of an object; anything else stays as it is. */
export function mapChildren(
  node: unknown,
  change: (child: unknown, step: string | number) => unknown,
): unknown {
  if (Array.isArray(node)) return node.map(change);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(Object.entries(node).map(([key, child]) => [key, change(child, key)]));
}

// --- internal -----------------------------------------------------------------------------------

/** The message of an issue for which the schema has none of its own. Values may be secrets and are not repeated. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return `missing field "${String(issue.path?.at(-1))}"`;
  if (issue.code === 'invalid_key') return issue.issues[0]?.message;
  if (issue.code === 'invalid_value') {
    const found = typeof issue.input === 'string' ? `"${issue.input}"` : nameType(issue.input);
    return `expected ${issue.values.map(v => `"${String(v)}"`).join(' or ')}, found ${found}`;
  }
  if (issue.code !== 'invalid_type') return undefined;
  const quote = issue.expected === 'string' && typeof issue.input !== 'object' ? '; put it in quotes' : '';
  return `expected ${expectedTypes[issue.expected] ?? issue.expected}, found ${nameType(issue.input)}${quote}`;
}

const expectedTypes: Readonly<Record<string, string>> = {
  string: 'a string',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
};

function nameType(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function toFindings(issue: z.core.$ZodIssue, schema: z.ZodType, value: unknown): Finding[] {
  const path = issue.path as Path;
  if (issue.code === 'unrecognized_keys') {
    const known = fieldsAt(schema, path);
    return issue.keys.map(key => ({
      path: [...path, key],
      message: `unknown field "${key}"`,
      suggestion: similarName(key, known),
      at: 'key',
    }));
  }
  const found = path.reduce<unknown>((node, step) => (node as Record<string, unknown>)?.[step], value);
  if (found === undefined || issue.code === 'invalid_key')
    return [{ path, message: issue.message, at: 'key' }];
  return [{ path, message: issue.message, suggestion: suggestionFor(issue, found) }];
}

function suggestionFor(issue: z.core.$ZodIssue, found: unknown): string | undefined {
  if (issue.code === 'custom') return issue.params?.suggestion as string | undefined;
  if (issue.code !== 'invalid_value' || typeof found !== 'string') return undefined;
  return similarName(found, issue.values.map(String));
}

/** The fields that the object at `path` may have. */
function fieldsAt(schema: z.ZodType, path: Path): readonly string[] {
  const isAround = schema instanceof z.ZodOptional || schema instanceof z.ZodDefault;
  const inner = isAround ? (schema.unwrap() as z.ZodType) : schema;
  const [step, ...rest] = path;
  if (inner instanceof z.ZodArray) return fieldsAt(inner.element as z.ZodType, rest);
  if (inner instanceof z.ZodRecord) return fieldsAt(inner.valueType as z.ZodType, rest);
  if (!(inner instanceof z.ZodObject)) return [];
  return step === undefined ? Object.keys(inner.shape) : fieldsAt(inner.shape[step], rest);
}
