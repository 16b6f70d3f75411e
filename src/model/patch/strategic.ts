/**
 * Kubernetes' strategic merge patch ("Update API Objects in Place Using kubectl patch", and the design
 * proposals "strategic-merge-patch" and "preserve-order-in-strategic-merge-patch"): a merge patch that
 * merges some lists by key and knows directives.
 *
 * Two cases where Kubernetes surprises are settled here: a map with `$patch: delete` is removed (there it
 * stays, empty), and directives in something that did not exist before are obeyed (there they are lost).
 */
import { OffshootError } from '../errors.ts';
import { deploymentMergeRules, type MergeRule, type MergeRules } from './merge-keys.ts';
import { isList, isObject, type Json, type JsonObject, member } from './tree.ts';

/**
 * Merges `patch` into a Deployment. Elements that a patch adds to a list merged by key stand before those
 * it does not mention, as in Kubernetes. The result shares unchanged parts with `document`.
 * @throws OffshootError fork/patch-failed naming the field.
 */
export function strategicMergePatch(document: Json, patch: Json): Json {
  const merged = mergeValue(document, patch, { kind: 'map', fields: deploymentMergeRules }, '');
  if (merged === undefined) throw failed('its top level', 'the whole object cannot be deleted');
  return merged;
}

// --- internal -----------------------------------------------------------------------------------

const removePrefix = '$deleteFromPrimitiveList/';
const orderPrefix = '$setElementOrder/';

/** @returns undefined: the field is to go. */
function mergeValue(
  before: Json | undefined,
  patch: Json,
  rule: MergeRule | undefined,
  at: string,
): Json | undefined {
  if (isObject(patch))
    return mergeMap(isObject(before) ? before : {}, patch, rule?.kind === 'map' ? rule.fields : {}, at);
  if (!isList(patch)) return patch;
  const known = isList(before) ? before : [];
  if (rule?.kind === 'list') return mergeList(known, patch, rule, at);
  if (rule?.kind === 'set') return arrange([...new Set([...known, ...patch])], item => item, known, patch);
  return patch.map((item, i) => {
    if (isObject(item) && Object.hasOwn(item, '$patch'))
      throw failed(`${at}[${i}]`, 'this list is replaced as a whole, so its elements take no directive');
    return mergeValue(undefined, item, undefined, `${at}[${i}]`)!;
  });
}

function mergeMap(before: JsonObject, patch: JsonObject, rules: MergeRules, at: string): Json | undefined {
  const { $patch: directive = 'merge' } = patch;
  if (directive === 'delete') return undefined;
  if (directive !== 'replace' && directive !== 'merge')
    throw failed(join(at, '$patch'), 'it must be delete, replace or merge');
  const merged = new Map(directive === 'replace' ? [] : Object.entries(retained(before, patch, at)));
  for (const field of fieldsOf(patch)) {
    const rule = Object.hasOwn(rules, field) ? rules[field] : undefined;
    const value = mergeField(merged.get(field), patch, field, rule, join(at, field));
    if (value === undefined) merged.delete(field);
    else merged.set(field, value);
  }
  return Object.fromEntries(merged);
}

/** One field with what the patch says about it: its value, elements to remove, and the order of its elements. */
function mergeField(
  before: Json | undefined,
  patch: JsonObject,
  field: string,
  rule: MergeRule | undefined,
  at: string,
): Json | undefined {
  const value = member(patch, field);
  const removed = member(patch, removePrefix + field);
  const order = member(patch, orderPrefix + field);
  let after = value === undefined ? before : value === null ? undefined : mergeValue(before, value, rule, at);
  if (removed !== undefined) {
    const gone = listOf(removed, at, removePrefix);
    if (isList(after)) after = after.filter(item => !gone.includes(item));
  }
  if (order !== undefined) {
    if (rule === undefined || rule.kind === 'map')
      throw failed(at, `only lists that are merged take ${orderPrefix}`);
    const idOf = rule.kind === 'list' ? (item: Json) => idIn(item, rule.key) : (item: Json) => item;
    const wanted = listOf(order, at, orderPrefix).map(idOf);
    const named = (isList(value) ? value : []).filter(item => !isDirective(item));
    if (!named.every(item => wanted.includes(idOf(item))))
      throw failed(at, `${orderPrefix} must name every element of the patch`);
    if (isList(after)) after = arrange(after, idOf, isList(before) ? before.map(idOf) : [], wanted);
  }
  return after;
}

function mergeList(
  before: readonly Json[],
  patch: readonly Json[],
  { key, fields }: Extract<MergeRule, { kind: 'list' }>,
  at: string,
): Json {
  const idOf = (item: Json) => idIn(item, key);
  const elements = patch.map((element, i) => checkedElement(element, key, `${at}[${i}]`));
  const replaced = elements.some(e => e.$patch === 'replace');
  const deleted = elements.filter(e => e.$patch === 'delete').map(idOf);
  const kept = replaced ? [] : before.filter(item => !deleted.includes(idOf(item)));
  const changes = elements.filter(e => !isDirective(e));

  const items = [...kept];
  for (const change of changes) {
    const index = items.findIndex(item => idOf(item) === idOf(change));
    const old = items[index];
    const item = mergeMap(isObject(old) ? old : {}, change, fields, `${at}[${key}=${idOf(change)}]`)!;
    if (index < 0) items.push(item);
    else items[index] = item;
  }
  return arrange(items, idOf, kept.map(idOf), changes.map(idOf));
}

function checkedElement(element: Json, key: string, at: string): JsonObject {
  if (!isObject(element)) throw failed(at, 'it must be a map');
  if (element.$patch === 'replace') {
    // Kubernetes drops what else stands in such an element without a word.
    if (Object.keys(element).length > 1)
      throw failed(at, 'an element with "$patch: replace" holds nothing else');
    return element;
  }
  const id = member(element, key);
  if (typeof id !== 'string' && typeof id !== 'number')
    throw failed(at, `it needs "${key}", by which the elements of this list are matched`);
  return element;
}

/** Elements that only say what happens to others. */
const isDirective = (element: Json): boolean =>
  isObject(element) && (element.$patch === 'delete' || element.$patch === 'replace');

/**
 * Order after a merge: items that the patch names follow the order of the patch, the others keep theirs,
 * and one of the others goes first only when it already stood before the named item that is next.
 */
function arrange(
  items: readonly Json[],
  idOf: (item: Json) => Json | undefined,
  known: readonly (Json | undefined)[],
  wanted: readonly (Json | undefined)[],
): readonly Json[] {
  const place = (item: Json) => wanted.indexOf(idOf(item));
  const named = items.filter(item => place(item) >= 0).sort((a, b) => place(a) - place(b));
  const others = items.filter(item => place(item) < 0);
  const result: Json[] = [];
  for (const item of named) {
    const position = known.indexOf(idOf(item));
    while (others.length > 0 && known.indexOf(idOf(others[0]!)) < position) result.push(others.shift()!);
    result.push(item);
  }
  return [...result, ...others];
}

/** `$retainKeys` lists the fields that may stay; all the patch sets must be among them. */
function retained(before: JsonObject, patch: JsonObject, at: string): JsonObject {
  const keys = member(patch, '$retainKeys');
  if (keys === undefined) return before;
  const kept = listOf(keys, at, '$retainKeys');
  const stray = fieldsOf(patch).find(
    field => (member(patch, field) ?? null) !== null && !kept.includes(field),
  );
  if (stray !== undefined) throw failed(at, `the patch sets "${stray}", which $retainKeys does not name`);
  return Object.fromEntries(Object.entries(before).filter(([field]) => kept.includes(field)));
}

/** The fields that a patch speaks about, plainly or by a directive for one of them. */
function fieldsOf(patch: JsonObject): readonly string[] {
  const fields = Object.keys(patch)
    .filter(key => key !== '$patch' && key !== '$retainKeys')
    .map(key => {
      const prefix = [removePrefix, orderPrefix].find(p => key.startsWith(p)) ?? '';
      return key.slice(prefix.length);
    });
  return [...new Set(fields)];
}

function listOf(value: Json, at: string, directive: string): readonly Json[] {
  if (!isList(value)) throw failed(at, `${directive} must be a list`);
  return value;
}

const idIn = (item: Json, key: string): Json | undefined => (isObject(item) ? member(item, key) : undefined);

const join = (at: string, field: string): string => (at === '' ? field : `${at}.${field}`);

const failed = (where: string, why: string): OffshootError =>
  new OffshootError('fork/patch-failed', { type: 'strategic', where, why });
