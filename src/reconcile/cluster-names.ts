/**
 * The names that a workload resolves (Kubernetes, "DNS for Services and Pods"), as lines of a hosts file: Services, the
 * pods behind headless ones, and the names that its own manifest gives. Whose file it is counts: the bare name of a
 * Service is known in its namespace only.
 */
import type { Baseline, Found } from '../baseline/contract.ts';
import type { Workload } from '../model/kubernetes.ts';
import { namespaceOf } from '../model/manifest-name.ts';
import { externalNameOf, isHeadless, parseServiceHost, podHostsOf, selects } from '../model/service.ts';
import { speechOfPorts } from '../model/speaks.ts';
import { podLabels } from '../model/workload.ts';

export type HostLine = { readonly ip: string; readonly names: readonly string[] };

export function clusterNames(baseline: Baseline, workload: Workload): readonly HostLine[] {
  const namespace = namespaceOf(workload);
  const { usual, headless } = servicesOf(baseline, namespace);
  if (headless.length === 0) return usual;
  return [...usual, ...headless.flatMap(service => headlessNames(baseline, service, workload))];
}

// --- internal -----------------------------------------------------------------------------------

type Named = {
  readonly usual: readonly HostLine[];
  readonly headless: readonly Found<'Service'>[];
};

/** By the list of all Services, which is another one as soon as one of them changes; then by namespace. */
const known = new WeakMap<readonly Found<'Service'>[], Map<string, Named>>();

function servicesOf(baseline: Baseline, namespace: string): Named {
  const services = baseline.list('Service');
  const byNamespace = known.get(services) ?? new Map<string, Named>();
  known.set(services, byNamespace);
  const before = byNamespace.get(namespace);
  if (before !== undefined) return before;
  const usual = services.flatMap(service => {
    const ip = isHeadless(service.object) ? undefined : addressOf(baseline, service);
    return ip === undefined ? [] : [{ ip, names: namesBelow('', service, namespace) }];
  });
  const made = { usual, headless: services.filter(({ object }) => isHeadless(object)) };
  byNamespace.set(namespace, made);
  return made;
}

/** Where its name leads; that of another Service where it is one's other name. */
function addressOf(baseline: Baseline, { object, status }: Found<'Service'>): string | undefined {
  const external = externalNameOf(object);
  const other = external === undefined ? undefined : parseServiceHost(external);
  const shown =
    other?.kind !== 'Service' ? status : baseline.get('Service', other.namespace, other.name)?.status;
  const [address] = Object.values(shown?.addresses ?? {});
  return address?.host ?? status?.external;
}

/**
 * A headless Service means its pods, but where a routing key may travel it means the router: a key must not pass by its
 * fork. Its own pods always see each other: they look for their peers.
 */
function headlessNames(
  baseline: Baseline,
  service: Found<'Service'>,
  workload: Workload,
): readonly HostLine[] {
  const namespace = namespaceOf(workload);
  const { object, status } = service;
  const behind = baseline.workloadsBehind(object);
  const router = addressOf(baseline, service);
  const pods = behind.flatMap(found => found.status?.ips ?? []);
  const isPeer = namespace === service.namespace && selects(object, podLabels(workload));
  const carriesKeys = Object.values(speechOfPorts(object, status?.found)).some(
    speaks => speaks === 'http' || speaks === 'unknown',
  );
  const direct = pods.length > 0 && (isPeer || !carriesKeys);
  const ips = direct ? pods : router === undefined ? [] : [router];
  return [
    ...ips.map(ip => ({ ip, names: namesBelow('', service, namespace) })),
    ...behind.flatMap(found =>
      podHostsOf(service.name, found.object, found.status?.pods).flatMap(({ host, ip = router }) =>
        ip === undefined ? [] : [{ ip, names: namesBelow(`${host}.`, service, namespace) }],
      ),
    ),
  ];
}

/** All forms that the search domains of a cluster let a pod of `namespace` use. */
function namesBelow(prefix: string, service: Found<'Service'>, namespace: string): readonly string[] {
  const short = `${prefix}${service.name}`;
  const full = `${short}.${service.namespace}`;
  const forms = [full, `${full}.svc`, `${full}.svc.cluster.local`];
  return namespace === service.namespace ? [...forms, short] : forms;
}
