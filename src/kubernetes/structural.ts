/**
 * Structural schemas, which API servers want of custom resources (Kubernetes, "Custom Resources", "Specifying a structural
 * schema"): every node has one type, nothing refers to elsewhere, and what no field names is pruned.
 */
import { z } from 'zod';
import { CLUSTER_RULES, type ClusterRule } from '../model/document/fields.ts';

export type Structural = {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Structural>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Structural;
  readonly items?: Structural;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-validations'?: readonly ClusterRule[];
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-list-type'?: 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
};

/**
 * `schema` as a structural one.
 * @throws Error when it has a part without a limit of its size, which makes rules too expensive for an API server, or one
 * that no structural schema can say: nothing is left out without a word
 */
export const structural = (schema: z.ZodType): Structural =>
  fromJsonSchema(z.toJSONSchema(schema, { io: 'input' }) as JsonSchema, 'the schema');

// --- internal -----------------------------------------------------------------------------------

type JsonSchema = Readonly<Record<string, unknown>>;

const types: readonly unknown[] = ['object', 'array', 'string', 'integer', 'number', 'boolean'];

/** Taken over as they are. */
const plain: ReadonlySet<string> = new Set([
  ...['type', 'required', 'enum', 'format', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum'],
  ...['maxItems', 'maxProperties', 'description', CLUSTER_RULES],
]);
/** `propertyNames`: there is no place for it; lengths of keys are limited by that of the whole object. */
const leftOut: ReadonlySet<string> = new Set(['$schema', 'propertyNames']);

function fromJsonSchema(schema: JsonSchema, path: string): Structural {
  const node: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (plain.has(keyword)) node[keyword] = value;
    else if (keyword === 'items') node.items = fromJsonSchema(value as JsonSchema, `${path}[]`);
    else if (keyword === 'properties') node.properties = below(value as JsonSchema, path);
    else if (keyword === 'additionalProperties') {
      // What no field names is pruned, or refused by who asks for strict validation, as kubectl does.
      if (value !== false) node[keyword] = fromJsonSchema(value as JsonSchema, `${path}.*`);
    } else if (!leftOut.has(keyword)) throw new Error(`${path}: "${keyword}" has no structural form`);
  }
  if (!types.includes(node.type)) throw new Error(`${path}: it has no type, or more than one`);
  const limited =
    node.type === 'string'
      ? node.maxLength !== undefined || node.enum !== undefined
      : node.type === 'array'
        ? node.maxItems !== undefined
        : node.additionalProperties === undefined || node.maxProperties !== undefined;
  if (!limited) throw new Error(`${path}: a ${node.type} without a limit of its size`);
  return node as Structural;
}

const below = (properties: JsonSchema, path: string): Readonly<Record<string, Structural>> =>
  Object.fromEntries(
    Object.entries(properties).map(([key, child]) => [
      key,
      fromJsonSchema(child as JsonSchema, `${path}.${key}`),
    ]),
  );
