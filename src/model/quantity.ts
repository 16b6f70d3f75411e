/** Quantities of Kubernetes (API reference, "Quantity"). Pure. */

/** A number, or one with a suffix: `500m`, `0.5`, `256Mi`, `1e9`. */
export type Quantity = string | number;

/** @returns undefined when it is none */
export function readQuantity(text: Quantity): number | undefined {
  const [, digits, suffix = ''] =
    /^(\d+(?:\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?$/.exec(String(text)) ?? [];
  if (digits === undefined) return undefined;
  return /^[eE]./.test(suffix) ? Number(digits + suffix) : Number(digits) * (SUFFIX[suffix] ?? 1);
}

// --- internal -----------------------------------------------------------------------------------

const SUFFIX: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};
