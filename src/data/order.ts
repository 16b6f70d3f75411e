/** Puts objects into an order in which each has what it needs; pure. */

import { type DbObject, EXCLUDED, type Key } from './catalog/contract.ts';
import type { Catalog } from './catalog.ts';

/**
 * @param depends as pg_depend says it: `of` needs `on`
 * @param members what extensions have made, and which of them
 */
export function inOrder(
  objects: readonly DbObject[],
  depends: readonly { readonly of: Key; readonly on: Key }[],
  members: ReadonlyMap<Key, Key>,
): Catalog {
  const byKey = new Map<Key, DbObject>();
  for (const object of objects)
    for (const key of [object.key, ...(object.also ?? [])]) byKey.set(key, object);
  const find = (key: Key): DbObject | undefined => byKey.get(key) ?? byKey.get(members.get(key) ?? key);
  const needs = new Map<DbObject, Set<DbObject>>(objects.map(object => [object, new Set()]));
  for (const { of, on } of depends) {
    // What an extension has made needs nothing but the extension.
    if (members.has(of)) continue;
    const [object, needed] = [byKey.get(of), find(on)];
    if (object !== undefined && needed !== undefined && object !== needed) needs.get(object)!.add(needed);
  }
  for (const object of objects)
    for (const key of object.needs ?? []) {
      const needed = find(key);
      if (needed !== undefined && needed !== object) needs.get(object)!.add(needed);
    }

  const refused = new Map<DbObject, string>();
  for (const object of objects) if (object.refused !== undefined) refused.set(object, object.refused);
  spread(objects, needs, refused);
  const late = new Set(objects.filter(({ when }) => when === 'after'));
  // A view may need a primary key, for example: then it comes later, too.
  for (let grew = true; grew; ) {
    grew = false;
    for (const object of objects)
      if (!late.has(object) && [...needs.get(object)!].some(needed => late.has(needed)))
        grew = !!late.add(object);
  }
  const made = (wanted: boolean) =>
    sorted(
      objects.filter(o => late.has(o) === wanted && !refused.has(o)),
      needs,
    );
  return {
    before: made(false),
    after: made(true),
    refused: [...refused].map(([object, why]) => ({ object, why })),
    find,
  };
}

// --- internal -----------------------------------------------------------------------------------

/** What needs something that cannot be made cannot be made either. */
function spread(
  objects: readonly DbObject[],
  needs: ReadonlyMap<DbObject, ReadonlySet<DbObject>>,
  refused: Map<DbObject, string>,
): void {
  for (let grew = true; grew; ) {
    grew = false;
    for (const object of objects) {
      if (refused.has(object)) continue;
      const missing = [...needs.get(object)!].find(needed => refused.has(needed));
      if (missing === undefined) continue;
      // What belongs to a table that was not asked for is not missed.
      const isPart = object.needs?.[0] === missing.key && refused.get(missing) === EXCLUDED;
      refused.set(object, isPart ? EXCLUDED : `it needs ${missing.what}`);
      grew = true;
    }
  }
}

/** Lower ranks first, then as they came; of those in a circle one is made too early, and fails by itself. */
function sorted(
  objects: readonly DbObject[],
  needs: ReadonlyMap<DbObject, ReadonlySet<DbObject>>,
): readonly DbObject[] {
  const among = new Set(objects);
  const byRank = objects.toSorted((a, b) => a.rank - b.rank);
  const placed = new Set<DbObject>();
  const open = new Set<DbObject>();
  const order: DbObject[] = [];
  for (const first of byRank) {
    // Depth first, without recursion: chains may be long.
    const path = [first];
    while (path.length > 0) {
      const object = path.at(-1)!;
      if (placed.has(object)) {
        path.pop();
        continue;
      }
      open.add(object);
      const next = [...needs.get(object)!].find(
        needed => among.has(needed) && !placed.has(needed) && !open.has(needed),
      );
      if (next !== undefined) {
        path.push(next);
        continue;
      }
      path.pop();
      placed.add(object);
      order.push(object);
    }
  }
  return order;
}
