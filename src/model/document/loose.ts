/** Documents of which some parts are missing because they were malformed, and the way over their lists. */
import type { Finding, Path } from './problem.ts';
import { mapChildren } from './shape.ts';

/**
 * `T` as far as it is well-formed: anything may be missing; list items keep their index. What was there but
 * malformed is undefined under its key: see `isMalformed`.
 */
export type Loose<T> = T extends readonly (infer U)[]
  ? readonly (Loose<U> | undefined)[]
  : T extends object
    ? { readonly [K in keyof T]?: Loose<T[K]> | undefined }
    : T;

/** An item of a loose list. */
export type ItemOf<List extends readonly unknown[] | undefined> = NonNullable<NonNullable<List>[number]>;

/**
 * A copy of `value` without the nodes at `broken`, so that rules about the whole can be checked on what is
 * left. @returns undefined when nothing is left
 */
export function wellFormed<T>(value: unknown, broken: readonly Path[]): Loose<T> | undefined {
  const keys = new Set(broken.map(pathKey));
  const copy = (node: unknown, path: Path): unknown => {
    if (keys.has(pathKey(path))) return undefined;
    return mapChildren(node, (child, step) => copy(child, [...path, step]));
  };
  return (keys.size === 0 ? value : copy(value, [])) as Loose<T> | undefined;
}

/** A path as a key of sets. */
export const pathKey = (path: Path): string => JSON.stringify(path);

/** The items of the list at `path` that are there, each with its own path. */
export function placed<T>(
  items: readonly (T | undefined)[] | undefined,
  path: Path,
): readonly { readonly item: T; readonly path: Path }[] {
  return (items ?? []).flatMap((item, i) => (item === undefined ? [] : [{ item, path: [...path, i] }]));
}

/** Whether `object` has a `key` whose value is not known because it was malformed. */
export const isMalformed = (object: object | undefined, key: string): boolean =>
  object !== undefined && Object.hasOwn(object, key) && object[key as keyof typeof object] === undefined;

/** A text somewhere in a document; undefined where it is missing. */
export type Named = { readonly text: string | undefined; readonly path: Path };

/** The names of the items of the list at `path`. */
export const names = (
  items: readonly ({ readonly name?: string | undefined } | undefined)[] | undefined,
  path: Path,
): readonly Named[] =>
  placed(items, path).map(({ item, path }) => ({ text: item.name, path: [...path, 'name'] }));

/** A finding for each entry whose text stood before. @param what the kind of text, as in "endpoint name" */
export function unique(entries: readonly Named[], what: string): readonly Finding[] {
  const seen = new Set<string>();
  return entries.flatMap(({ text, path }) => {
    if (text === undefined) return [];
    if (seen.has(text)) return [{ path, message: `the ${what} "${text}" is used twice` }];
    seen.add(text);
    return [];
  });
}
