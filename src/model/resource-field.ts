/** What a container asks of its own resources (Kubernetes, "Downward API", information available via resourceFieldRef). Pure. */
import type { Container } from './kubernetes.ts';

/** The machine that runs a container: what a limit is that nobody has set. */
export type Node = { readonly name: string; readonly cpus: number; readonly memoryBytes: number };

/**
 * @param resource e.g. `limits.cpu`, `requests.memory`
 * @param divisor a quantity, e.g. `1m`, `1Mi`
 * @returns a whole number, rounded up; undefined when there is no such resource or quantity
 */
export function resourceField(
  { resources }: Container,
  resource: string,
  divisor: string,
  node: Node,
): string | undefined {
  const [, kind, name] =
    /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/.exec(resource) ?? [];
  if (name === undefined) return undefined;
  const { limits, requests } = (resources ?? {}) as { limits?: Quantities; requests?: Quantities };
  const limit = limits?.[name];
  const most = name === 'cpu' ? node.cpus : name === 'memory' ? node.memoryBytes : 0;
  // A request that nobody made is as large as the limit (API reference, ResourceRequirements).
  const asked = kind === 'limits' ? (limit ?? most) : (requests?.[name] ?? limit ?? 0);
  const value = quantity(asked);
  const unit = quantity(divisor) || 1; // a divisor of zero means one
  if (value === undefined) return undefined;
  const exact = value / unit;
  return String(Math.ceil(exact - exact * ROUNDING));
}

// --- internal -----------------------------------------------------------------------------------

type Quantities = Readonly<Record<string, string | number>>;

/** Of floating point: 0.1 / 0.001 is more than 100. */
const ROUNDING = 1e-12;

const SUFFIX: Readonly<Record<string, number>> = {
  ...{ n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
  ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
};

/** API reference, "Quantity". */
function quantity(text: string | number): number | undefined {
  const [, digits, suffix = ''] =
    /^(\d+(?:\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d{1,3})?$/.exec(String(text)) ?? [];
  if (digits === undefined) return undefined;
  return /^[eE]./.test(suffix) ? Number(digits + suffix) : Number(digits) * (SUFFIX[suffix] ?? 1);
}
