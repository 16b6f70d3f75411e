/** Values of PostgreSQL in JSON. */

/** @returns reads the text that PostgreSQL has written for a value of the type */
export type ReadValue = (oid: number) => (text: string) => unknown;

/** As PostgreSQL writes them. */
export const asText: ReadValue = () => text => text;

/**
 * What JSON has as well becomes that, all else stays text: numbers that it would round (int8, numeric) too, and those
 * that it does not have (NaN, Infinity).
 */
export const asJson: ReadValue = oid => readers[oid] ?? (text => text);

// --- internal ------------------------------------------------------------------------------------

const number = (text: string): unknown => {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
};

/** By the OID of a type (pg_type.dat). */
const readers: Readonly<Record<number, (text: string) => unknown>> = {
  16: text => text === 't',
  21: number,
  23: number,
  26: number,
  700: number,
  701: number,
  114: JSON.parse,
  3802: JSON.parse,
};
