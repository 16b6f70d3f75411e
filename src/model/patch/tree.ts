/** JSON values as patches see them. Nothing here is ever changed in place. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json };

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Like `Array.isArray`, which does not narrow to a readonly list. */
export const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

/** A member of the object itself: `constructor` and its like are absent unless the document has them. */
export const member = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined;
