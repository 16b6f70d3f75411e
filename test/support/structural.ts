/** What an API server makes of a schema and of a value, as far as no API server is needed for it. */
import type { Structural } from '../../src/kubernetes/structural.ts';

/**
 * What is wrong with `schema` by the rules for structural schemas of apiextensions.k8s.io/v1 (Kubernetes documentation,
 * "Extend the Kubernetes API with CustomResourceDefinitions", "Specifying a structural schema").
 */
export function notStructural(schema: object, path = ''): readonly string[] {
  const node = schema as Structural;
  const wrong: string[] = [];
  const report = (what: string) => wrong.push(`${path || '.'}: ${what}`);
  for (const keyword of Object.keys(node)) if (!keywords.has(keyword)) report(`"${keyword}" is not allowed`);
  if (node.type === undefined) report('no type');
  if (node.properties !== undefined && node.additionalProperties !== undefined)
    report('properties and additionalProperties exclude each other');
  if (node.type === 'array' && node.items === undefined) report('an array without items');
  if (node['x-kubernetes-list-type'] === 'map')
    for (const key of node['x-kubernetes-list-map-keys'] ?? [])
      if (!node.items?.required?.includes(key)) report(`the key "${key}" of the list is not required`);
  for (const name of node.required ?? [])
    if (node.properties?.[name] === undefined) report(`"${name}" is required, but no property`);
  if (path === '.metadata' && JSON.stringify(node) !== '{"type":"object"}')
    report('only names of metadata may be restricted');
  for (const [name, child] of Object.entries(node.properties ?? {}))
    wrong.push(...notStructural(child, `${path}.${name}`));
  if (node.items !== undefined) wrong.push(...notStructural(node.items, `${path}[]`));
  if (node.additionalProperties !== undefined)
    wrong.push(...notStructural(node.additionalProperties, `${path}.*`));
  return wrong;
}

/** Why `value` is refused, or what of it is pruned; rules in CEL are not looked at. */
export function misfits(schema: Structural, value: unknown, path = ''): readonly string[] {
  const at = path || '.';
  if (typeOf(value) !== schema.type) return [`${at}: ${typeOf(value)} instead of ${schema.type}`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${at}: not one of the enum`];
  if (typeof value === 'string') {
    const length = [...value].length;
    if (length > (schema.maxLength ?? Infinity) || length < (schema.minLength ?? 0)) return [`${at}: length`];
    return new RegExp(schema.pattern ?? '').test(value) ? [] : [`${at}: pattern`];
  }
  if (typeof value === 'number')
    return value >= (schema.minimum ?? -Infinity) && value <= (schema.maximum ?? Infinity)
      ? []
      : [`${at}: range`];
  if (Array.isArray(value)) {
    if (value.length > (schema.maxItems ?? Infinity)) return [`${at}: too many items`];
    return value.flatMap((item, i) => misfits(schema.items!, item, `${path}[${i}]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  const missing = (schema.required ?? []).filter(key => !Object.hasOwn(value, key));
  return [
    ...missing.map(key => `${at}: lacks ${key}`),
    ...Object.entries(value).flatMap(([key, child]) => {
      const below = schema.properties?.[key] ?? schema.additionalProperties;
      if (below !== undefined) return misfits(below, child, `${path}.${key}`);
      return schema['x-kubernetes-preserve-unknown-fields'] === true ? [] : [`${path}.${key}: is pruned`];
    }),
  ];
}

// --- internal ------------------------------------------------------------------------------------

const keywords: ReadonlySet<string> = new Set([
  ...['type', 'description', 'properties', 'required', 'additionalProperties', 'items', 'enum', 'format'],
  ...['pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'maxItems', 'maxProperties'],
  ...['x-kubernetes-validations', 'x-kubernetes-preserve-unknown-fields'],
  ...['x-kubernetes-list-type', 'x-kubernetes-list-map-keys'],
]);

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}
