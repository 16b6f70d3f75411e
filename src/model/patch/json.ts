/** JSON Patch, RFC 6902, with JSON Pointer, RFC 6901. */
import { isDeepStrictEqual } from 'node:util';
import { OffshootError } from '../errors.ts';
import { isList, isObject, type Json, member } from './tree.ts';

/**
 * Applies a list of operations in order, all or none. The result shares unchanged parts with `document`.
 * @throws OffshootError fork/patch-failed naming the first operation that cannot be applied, and why.
 */
export function jsonPatch(document: Json, patch: Json): Json {
  if (!isList(patch)) throw failed('its text', 'it must be a list of operations');
  return patch.reduce<Json>(applyOperation, document);
}

// --- internal -----------------------------------------------------------------------------------

type Pointer = readonly string[];

/** Why an operation cannot be applied; becomes an OffshootError once the operation's place is known. */
class Refusal extends Error {}

/** An operation's members, each checked when it is asked for: which are needed depends on the verb. */
type Operation = { readonly path: Pointer; readonly from: () => Pointer; readonly value: () => Json };

const verbs: Readonly<Record<string, (document: Json, operation: Operation) => Json>> = {
  add: (document, { path, value }) => add(document, path, value()),
  remove: (document, { path }) => remove(document, path),
  replace: (document, { path, value }) => replace(document, path, value()),
  move(document, { path, from }) {
    const source = from();
    if (path.length > source.length && source.every((token, i) => token === path[i]))
      throw new Refusal('a value cannot be moved into itself');
    return add(remove(document, source), path, get(document, source));
  },
  copy: (document, { path, from }) => add(document, path, get(document, from())),
  test(document, { path, value }) {
    if (!isDeepStrictEqual(get(document, path), value())) throw new Refusal('the value there is another one');
    return document;
  },
};

function applyOperation(document: Json, operation: Json, index: number): Json {
  let where = `operation ${index}`;
  try {
    if (!isObject(operation)) throw new Refusal('it must be a map');
    const { op, path } = operation;
    if (typeof op !== 'string' || !Object.hasOwn(verbs, op))
      throw new Refusal(`"op" must be one of ${Object.keys(verbs).join(', ')}`);
    where += ` (${op}${typeof path === 'string' ? ` ${path}` : ''})`;
    return verbs[op]!(document, {
      path: pointerOf(operation, 'path'),
      from: () => pointerOf(operation, 'from'),
      value() {
        const value = member(operation, 'value');
        if (value === undefined) throw new Refusal('it needs "value"');
        return value;
      },
    });
  } catch (error) {
    if (error instanceof Refusal) throw failed(where, error.message);
    throw error;
  }
}

function pointerOf(operation: { readonly [key: string]: Json }, name: 'path' | 'from'): Pointer {
  const text = member(operation, name);
  if (typeof text !== 'string') throw new Refusal(`it needs "${name}"`);
  if (text === '') return [];
  if (!text.startsWith('/')) throw new Refusal(`"${name}" must be empty or begin with "/"`);
  if (/~(?![01])/.test(text)) throw new Refusal(`in "${name}", "~" is written ~0 and "/" is written ~1`);
  const tokens = text
    .slice(1)
    .split('/')
    .map(token => token.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (tokens.includes('__proto__')) throw new Refusal('the key "__proto__" is not allowed');
  return tokens;
}

const get = (document: Json, path: Pointer): Json =>
  path.reduce((parent, _, depth) => child(parent, path, depth), document);

const add = (document: Json, path: Pointer, value: Json): Json =>
  path.length === 0
    ? value
    : edit(document, path, (parent, token) => {
        if (isObject(parent)) return { ...parent, [token]: value };
        if (!isList(parent)) throw nothingInside(path);
        return parent.toSpliced(token === '-' ? parent.length : indexIn(parent.length + 1, token), 0, value);
      });

function remove(document: Json, path: Pointer): Json {
  if (path.length === 0) throw new Refusal('the whole object cannot be removed');
  return edit(document, path, (parent, token, depth) => {
    child(parent, path, depth);
    if (isList(parent)) return parent.toSpliced(Number(token), 1);
    return Object.fromEntries(Object.entries(parent as object).filter(([key]) => key !== token));
  });
}

const replace = (document: Json, path: Pointer, value: Json): Json =>
  path.length === 0
    ? value
    : edit(document, path, (parent, token, depth) => {
        child(parent, path, depth);
        return withChild(parent, token, value);
      });

/** Rebuilds the values on the way to the parent of `path`, which `change` is asked to replace. */
function edit(
  node: Json,
  path: Pointer,
  change: (parent: Json, token: string, depth: number) => Json,
  depth = 0,
): Json {
  const token = path[depth]!;
  if (depth === path.length - 1) return change(node, token, depth);
  return withChild(node, token, edit(child(node, path, depth), path, change, depth + 1));
}

/** The value under `path[depth]`, which must exist. */
function child(parent: Json, path: Pointer, depth: number): Json {
  const token = path[depth]!;
  if (isList(parent)) return parent[indexIn(parent.length, token)]!;
  if (!isObject(parent)) throw nothingInside(path.slice(0, depth + 1));
  const value = member(parent, token);
  if (value === undefined) throw new Refusal(`${textOf(path.slice(0, depth + 1))} does not exist`);
  return value;
}

/** `token` is known to exist in `parent`. */
const withChild = (parent: Json, token: string, value: Json): Json =>
  isList(parent) ? parent.with(Number(token), value) : { ...(parent as object), [token]: value };

/** Position in a list of which the first `count` may be named. `-`, the place after the last, only means something to "add". */
function indexIn(count: number, token: string): number {
  if (!/^(0|[1-9][0-9]*)$/.test(token)) throw new Refusal(`"${token}" is not a position in a list`);
  const index = Number(token);
  if (index >= count) throw new Refusal(`position ${token} is past the end of the list`);
  return index;
}

const textOf = (path: Pointer): string =>
  path.map(token => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

const nothingInside = (path: Pointer): Refusal =>
  new Refusal(`${textOf(path.slice(0, -1))} is neither a map nor a list, so it holds no "${path.at(-1)}"`);

const failed = (where: string, why: string): OffshootError =>
  new OffshootError('fork/patch-failed', { type: 'json', where, why });
