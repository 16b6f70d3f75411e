/** Where a Service leads that selects nothing (Kubernetes, "Services without selectors"). Pure. */
import type { EndpointSlice, Endpoints, Service } from './kubernetes.ts';
import type { Address } from './route.ts';
import { externalNameOf } from './service.ts';

/** Its pods are none of ours: addresses say where it leads. */
export const selectsNothing = (service: Service): boolean =>
  Object.keys(service.spec.selector ?? {}).length === 0 && externalNameOf(service) === undefined;

/** The name of the Service that they are about; undefined: they are about none. */
export const serviceOf = ({ kind, metadata }: Endpoints | EndpointSlice): string | undefined =>
  kind === 'Endpoints' ? metadata.name : metadata.labels?.['kubernetes.io/service-name'];

/** Ports belong together by name and protocol; one that is alone may have none. */
export function addressesAt(
  port: NonNullable<Service['spec']['ports']>[number],
  all: readonly (Endpoints | EndpointSlice)[],
): readonly Address[] {
  const isMeant = (one: Port) =>
    (one.name ?? '') === (port.name ?? '') && (one.protocol ?? 'TCP') === (port.protocol ?? 'TCP');
  return all
    .flatMap(setsOf)
    .flatMap(({ hosts, ports }) =>
      ports.filter(isMeant).flatMap(({ port }) => hosts.map(host => ({ host, port }))),
    );
}

// --- internal -----------------------------------------------------------------------------------

type Port = { readonly name?: string; readonly port: number; readonly protocol?: string };

function setsOf(object: Endpoints | EndpointSlice): { hosts: readonly string[]; ports: readonly Port[] }[] {
  if (object.kind === 'Endpoints')
    return (object.subsets ?? []).map(({ addresses = [], ports = [] }) => ({
      ...{ hosts: addresses.map(({ ip }) => ip), ports },
    }));
  const ready = object.endpoints.filter(({ conditions }) => conditions?.ready !== false);
  return [{ hosts: ready.flatMap(({ addresses }) => addresses), ports: object.ports ?? [] }];
}
