/**
 * What is known only when a pod starts, such as the number of a port or its name, stands in its plan as a stand-in, which
 * may be in the middle of a text. \u0001 is in no manifest (YAML 1.2 section 5.1 forbids it).
 */

export type Known = Readonly<Record<string, string>>;

/** @param what a containerPort, or `name`, `uid`, `ip`, `index` of the pod */
export const standIn = (what: string | number): string => `\u0001${what}\u0001`;

/** `value` with all stand-ins replaced, in all texts of it. What is not known stays as it is. */
export function fillIn<T>(value: T, known: Known): T {
  if (typeof value === 'string')
    return value.replace(STAND_IN, (whole, what: string) =>
      Object.hasOwn(known, what) ? known[what]! : whole,
    ) as T;
  if (Array.isArray(value)) return value.map(item => fillIn(item, known)) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillIn(item, known)])) as T;
}

// --- internal -----------------------------------------------------------------------------------

const STAND_IN = /\u0001(\w+)\u0001/g;
