/** What a container asks of its own resources (Kubernetes, "Downward API", information available via resourceFieldRef). Pure. */
import type { Container } from './kubernetes.ts';
import { readQuantity } from './quantity.ts';

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
  const { limits, requests } = resources ?? {};
  const limit = limits?.[name];
  const most = name === 'cpu' ? node.cpus : name === 'memory' ? node.memoryBytes : 0;
  // A request that nobody made is as large as the limit (API reference, ResourceRequirements).
  const asked = kind === 'limits' ? (limit ?? most) : (requests?.[name] ?? limit ?? 0);
  const value = readQuantity(asked);
  const unit = readQuantity(divisor) || 1; // a divisor of zero means one
  if (value === undefined) return undefined;
  const exact = value / unit;
  return String(Math.ceil(exact - exact * ROUNDING));
}

// --- internal -----------------------------------------------------------------------------------

/** Of floating point: 0.1 / 0.001 is more than 100. */
const ROUNDING = 1e-12;
