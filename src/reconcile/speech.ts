/** What ports of Services speak: what proxies found, and what follows for the forks behind them. */
import type { Baseline } from '../baseline/contract.ts';
import type { Condition } from '../model/conditions.ts';
import { manifestName } from '../model/manifest-name.ts';
import type { DestinationKey, Found } from '../model/route.ts';
import { speechOfPorts } from '../model/speaks.ts';
import type { Store, Stored } from '../store/contract.ts';

/** Notes at the Services what was found. HTTP stays: a port at which it was spoken is routed by key. */
export async function noteFound(store: Store, found: Readonly<Record<DestinationKey, Found>>): Promise<void> {
  for (const [key, what] of Object.entries(found)) {
    const [, namespace, name, port] = /^svc:([^/]+)\/(.+):(\d+)$/.exec(key) ?? [];
    if (port === undefined) continue;
    const isNews = (object: Stored<'manifest'> | undefined) => {
      const known = object?.status?.found?.[Number(port)];
      return object?.status != null && known !== what && known !== 'http';
    };
    const manifest = manifestName('Service', namespace!, name!);
    if (!isNews(store.get('manifest', manifest))) continue;
    await store.modify('manifest', manifest, object =>
      isNews(object)
        ? { status: { ...object.status!, found: { ...object.status!.found, [Number(port)]: what } } }
        : undefined,
    );
  }
}

type NewCondition = Omit<Condition, 'lastTransitionTime'>;

/**
 * Whether the key of a sandbox leads to its forks at every Service in front of them; undefined without forks. A port
 * of which nobody knows yet what it speaks counts as routed: once something else than HTTP was seen there, it does not.
 */
export function routedCondition(baseline: Baseline, { spec }: Stored<'sandbox'>): NewCondition | undefined {
  const forks = spec.forks ?? [];
  if (forks.length === 0) return undefined;
  const passing = new Set<string>();
  const unknown = new Set<string>();
  for (const { forkOf } of forks) {
    const workload = baseline.get(forkOf.kind, forkOf.namespace, forkOf.name);
    if (workload === undefined) continue;
    for (const { object, namespace, name, status } of baseline.servicesOf(workload.object)) {
      for (const [port, speaks] of Object.entries(speechOfPorts(object, status?.found))) {
        const label = `${namespace}/${name}:${port}`;
        if (speaks === 'unknown') unknown.add(label);
        else if (speaks !== 'http') passing.add(`${label} (${speaks.toUpperCase()})`);
      }
    }
  }
  if (passing.size > 0)
    return {
      ...{ type: 'Routed', status: 'False', reason: 'PassesThrough' },
      message: `no routing key travels through ${servicesText(passing)}: connections there reach the baseline, not the fork; a port that speaks HTTP says so by appProtocol: http`,
    };
  return {
    ...{ type: 'Routed', status: 'True', reason: 'ByKey' },
    message:
      unknown.size === 0
        ? 'requests with its key reach its forks'
        : `requests with its key reach its forks, if ${servicesText(unknown)} speaks HTTP: its first bytes will show`,
  };
}

// --- internal -----------------------------------------------------------------------------------

const servicesText = (labels: ReadonlySet<string>): string =>
  `${labels.size === 1 ? 'Service' : 'Services'} ${[...labels].join(', ')}`;
