/** JSON Merge Patch, RFC 7386. */
import { isObject, type Json, member } from './tree.ts';

/** Maps are merged, null removes, anything else replaces. The result shares unchanged parts with `document`. */
export function mergePatch(document: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const before = isObject(document) ? document : {};
  const merged = new Map(Object.entries(before));
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) merged.delete(key);
    else merged.set(key, mergePatch(member(before, key), change));
  }
  return Object.fromEntries(merged);
}
