/** Values as PostgreSQL prints them, and what they are in JSON: digits, infinity and the like come through unchanged. */
/** A column of a result. `type` is the number of its type in pg_type. */
export type Field = { readonly name: string; readonly type: number };

/** As PostgreSQL prints them; null is NULL. */
export type Row = readonly (string | null)[];

/**
 * A value in JSON. Numbers that a double holds are numbers; bigint and numeric are strings, because readers of JSON would
 * round them, and so are infinity and NaN, which JSON has not. json and jsonb come as they are, arrays of all these as arrays.
 */
export function jsonText(value: string | null, type: number): string {
  if (value === null) return 'null';
  if (type === BOOL) return value === 't' ? 'true' : 'false';
  if (NUMBERS.has(type)) return JSON_NUMBER.test(value) ? value : JSON.stringify(value);
  if (JSONS.has(type)) return value;
  const element = ARRAYS[type];
  return element === undefined ? JSON.stringify(value) : arrayText(value, element);
}

// --- internal -----------------------------------------------------------------------------------

/** From pg_type.dat: bool; int2, int4, oid, float4, float8; json, jsonb; arrays and what they hold. */
const BOOL = 16;
const NUMBERS: ReadonlySet<number> = new Set([21, 23, 26, 700, 701]);
const JSONS: ReadonlySet<number> = new Set([114, 3802]);
const ARRAYS: Readonly<Record<number, number>> = {
  ...{ 1000: 16, 1005: 21, 1007: 23, 1016: 20, 1021: 700, 1022: 701, 1028: 26, 1231: 1700 },
  ...{ 1003: 19, 1009: 25, 1014: 1042, 1015: 1043, 2951: 2950, 199: 114, 3807: 3802 },
};
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

/** PostgreSQL, "Array Input and Output Syntax". Bounds that are not from 1, `[0:1]={…}`, are left away. */
const arrayText = (text: string, element: number): string =>
  text
    .replace(/^[[\]\d:-]+=/, '')
    .replaceAll(
      /"((?:[^"\\]|\\.)*)"|[^{},"]+|[{}]/gs,
      (part: string, quoted?: string) =>
        BRACKETS[part] ??
        jsonText(
          quoted?.replaceAll(/\\(.)/gs, '$1') ?? (part.toUpperCase() === 'NULL' ? null : part),
          element,
        ),
    );

const BRACKETS: Readonly<Record<string, string>> = { '{': '[', '}': ']' };
