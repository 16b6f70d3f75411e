/** From the store to what a workload driver is asked for: the Deployment, what its env refers to, and the services around it. */
import type { WorkloadSpec } from '../drivers/contract.ts';
import { envSources } from '../model/env-sources.ts';
import type { ConfigMap, Deployment, Manifest, ManifestKind, Secret, Service } from '../model/kubernetes.ts';
import { manifestName, namespaceOf } from '../model/manifest-name.ts';
import { serviceEnv, serviceHostNames } from '../model/service.ts';
import { servedPorts } from '../model/workload-ports.ts';
import type { Store, Stored } from '../store/contract.ts';

export const baselineOwner = 'baseline';
export const sandboxOwner = (sandbox: string): string => `sandbox/${sandbox}`;

/** Ids sort by owner: `base.<ns>.<name>` and `sb-<sandbox>.<ns>.<name>`; sandbox names hold no dot. */
export const baselineId = (namespace: string, name: string): string => `base.${namespace}.${name}`;
export const forkId = (sandbox: string, namespace: string, name: string): string =>
  `sb-${sandbox}.${namespace}.${name}`;

/** The way back: what an id means. `sandbox` is absent for the baseline. */
export function workloadOf(id: string): {
  readonly sandbox?: string;
  readonly namespace: string;
  readonly name: string;
} {
  const [owner = '', namespace = '', ...name] = id.split('.');
  const where = { namespace, name: name.join('.') };
  return owner.startsWith('sb-') ? { sandbox: owner.slice('sb-'.length), ...where } : where;
}

/** All manifests of one kind that are to stay. */
export function manifestsOf<K extends ManifestKind>(
  store: Store,
  kind: K,
): readonly (Stored<'manifest'> & { readonly spec: Extract<Manifest, { kind: K }> })[] {
  return store.by('manifest/kind', kind).filter(m => m.deletedAt === undefined) as never;
}

/**
 * @param ports that are sent to although no container declares them
 * @param wish see `wishOf`
 */
export function workloadSpec(
  store: Store,
  owner: string,
  deployment: Deployment,
  { ports, wish }: { readonly ports: readonly number[]; readonly wish: string },
): WorkloadSpec {
  const namespace = namespaceOf(deployment);
  return {
    owner,
    deployment,
    refs: referenced(store, deployment, namespace),
    network: { ...network(store, namespace), ports },
    wish,
  };
}

/** Differs whenever somebody has asked again for one of the objects that a workload is made from. */
export const wishOf = (...objects: readonly Stored<'manifest' | 'sandbox'>[]): string =>
  objects.map(({ generation, secret }) => `${generation}.${secret?.tries ?? 0}`).join('-');

/** What the Services of the baseline send to a workload of it. */
export const servedBy = (store: Store, deployment: Deployment): readonly number[] =>
  servedPorts(
    deployment,
    manifestsOf(store, 'Service').map(s => s.spec),
  );

// --- internal -----------------------------------------------------------------------------------

/** Only what the containers mention: a change elsewhere must not restart them. */
function referenced(store: Store, deployment: Deployment, namespace: string): WorkloadSpec['refs'] {
  const wanted = envSources(deployment.spec.template);
  const data = (kind: 'ConfigMap' | 'Secret') => {
    const found: Record<string, Readonly<Record<string, string>>> = {};
    for (const name of [...wanted[kind]].sort()) {
      const manifest = store.get('manifest', manifestName(kind, namespace, name));
      if (manifest === undefined || manifest.deletedAt !== undefined) continue;
      found[`${namespace}/${name}`] = (manifest.spec as ConfigMap | Secret).data ?? {};
    }
    return found;
  };
  return { configMaps: data('ConfigMap'), secrets: data('Secret') };
}

function network(store: Store, namespace: string): Omit<WorkloadSpec['network'], 'ports'> {
  const services = manifestsOf(store, 'Service');
  const env = serviceEnv(
    services
      .filter(s => namespaceOf(s.spec) === namespace)
      .flatMap(s => serviceWithAddress(s.spec, s.status?.addresses)),
  );
  const hosts = services.flatMap(s => {
    const [address] = Object.values(s.status?.addresses ?? {});
    if (address === undefined) return [];
    const { name } = s.spec.metadata;
    const own = namespaceOf(s.spec);
    return [
      { ip: address.host, names: [...serviceHostNames(name, own), ...(own === namespace ? [name] : [])] },
    ];
  });
  return { env, hosts };
}

function serviceWithAddress(
  service: Service,
  addresses: Readonly<Record<number, { host: string; port: number }>> = {},
) {
  const [first] = Object.values(addresses);
  if (first === undefined) return [];
  const ports = (service.spec.ports ?? []).flatMap(p => {
    const address = addresses[p.port];
    return address === undefined
      ? []
      : [{ ...(p.name !== undefined && { name: p.name }), port: address.port }];
  });
  return [{ name: service.metadata.name, host: first.host, ports }];
}
