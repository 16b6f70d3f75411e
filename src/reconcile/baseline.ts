/** Baseline manifests: workloads run, Services get an address; the rest only waits to be referred to. */

import { lookup } from 'node:dns/promises';
import type { Baseline } from '../baseline/contract.ts';
import type { Ctx, WorkloadDriver } from '../drivers/contract.ts';
import type { Log } from '../lib/log.ts';
import { reasonOf } from '../model/conditions.ts';
import { toOffshootError } from '../model/errors.ts';
import type { Service, Workload } from '../model/kubernetes.ts';
import { type Address, addressKey } from '../model/route.ts';
import { externalNameOf, parseServiceHost } from '../model/service.ts';
import { speechOfPorts } from '../model/speaks.ts';
import { asWorkload, keyOfWorkload } from '../model/workload.ts';
import type { ManifestStatus } from '../model/workload-status.ts';
import { forgetUnused } from '../rules/folders.ts';
import { inputsOf } from '../rules/inputs.ts';
import type { Store, Stored } from '../store/contract.ts';
import { specOfBaseline, workloadStatus } from './baseline-workload.ts';
import { crashSince } from './crashes.ts';
import { reconcileCronJob, removeRuns } from './cron-job.ts';
import { type Report, reconcileJob } from './job.ts';
import { removeDisksOfDeleted, removeDisksOfSurplus } from './retention.ts';
import type { Result } from './scheduler.ts';
import { baselineId } from './workload-spec.ts';

export type BaselineDeps = {
  readonly store: Store;
  readonly baseline: Baseline;
  readonly workloads: WorkloadDriver;
  readonly addresses: ServiceAddresses;
  /** Whether the router answers at an address: `open`, `opening`, or why it cannot. */
  readonly listening: (address: Address, transport: 'tcp' | 'udp') => Listening;
  /** Waits until the data path does what the store says now. */
  readonly routed: () => Promise<unknown>;
  readonly now: () => Date;
  readonly log: Log;
};

export type ServiceAddresses = {
  /**
   * Chooses the address of a Service's port; stays the same while it is free.
   * @param taken whether another Service has an address; with `anyPort`, whether one has its host
   */
  choose(
    service: string,
    port: number,
    taken: (address: Address, how?: { readonly anyPort: boolean }) => boolean,
  ): Address;
  /** Whether it could be chosen now: what was may belong to another network. */
  fits(address: Address): boolean;
};

export type Listening = 'open' | 'opening' | { readonly problem: string };

export type BaselineReconciler = (name: string, signal: AbortSignal) => Promise<Result>;

export function baselineReconciler(deps: BaselineDeps): BaselineReconciler {
  const { store, workloads } = deps;
  /** Addresses that are given to a Service just now, and are not in the store yet. */
  const claimed = new Map<string, string>();

  const workload = async (object: Stored<'manifest'>, spec: Workload, ctx: Ctx): Promise<Result> => {
    const inputs = inputsOf(deps, object);
    const id = baselineId(keyOfWorkload(spec));
    if (object.deletedAt !== undefined) {
      await deps.routed();
      if (spec.kind === 'CronJob') await removeRuns(workloads, object, ctx);
      else await workloads.remove(id, ctx);
      await removeDisksOfDeleted(workloads, spec, ctx);
      return gone(object);
    }
    const tell: Report = (object, status) => report(object, { ...status, inputs });
    try {
      if (spec.kind === 'CronJob') return await reconcileCronJob(deps, object, tell, ctx);
      if (spec.kind === 'Job') return await reconcileJob(deps, object, spec, tell, ctx);
      const seen = await workloads.ensure(id, specOfBaseline(deps, object, spec), ctx);
      const reported = await tell(object, workloadStatus(seen, object.generation));
      if (seen.ready && seen.leaving.length === 0) await removeDisksOfSurplus(workloads, spec, ctx);
      if (!reported || seen.leaving.length === 0) return;
      await deps.routed();
      workloads.release(id, seen.leaving);
    } catch (thrown) {
      ctx.signal.throwIfAborted();
      const { code, message } = toOffshootError(thrown);
      await report(object, {
        ready: false,
        reason: reasonOf(code),
        message,
        observedGeneration: object.generation,
        inputs,
      });
      throw thrown;
    }
    return;
  };

  const service = async (object: Stored<'manifest'>, spec: Service): Promise<Result> => {
    if (object.deletedAt !== undefined) return gone(object);
    const external = externalNameOf(spec);
    if (external !== undefined) return otherName(object, external);
    const addresses: Record<number, Address> = {};
    const own = () => Object.values(addresses).map(addressKey);
    // One port may be there for both, as a name server's is.
    for (const [port, transports] of transportsOf(spec)) {
      const kept = object.status?.addresses?.[port];
      // An address that somebody else holds is replaced by the next one.
      const usable =
        kept !== undefined &&
        deps.addresses.fits(kept) &&
        transports.every(t => typeof deps.listening(kept, t) === 'string');
      const others = [...own(), ...(kept === undefined ? [] : [addressKey(kept)])];
      const taken = (address: Address, { anyPort } = { anyPort: false }) =>
        others.includes(addressKey(address)) || isTaken(address, anyPort, object.name);
      addresses[port] = usable ? kept : deps.addresses.choose(object.name, port, taken);
    }
    for (const key of own()) claimed.set(key, object.name);
    try {
      await reportService(object, addresses);
    } finally {
      for (const key of own()) claimed.delete(key);
    }
    return;
  };

  /** `externalName`: another name for a Service, or for something outside, whose address has to be asked for now and then. */
  const otherName = async (object: Stored<'manifest'>, external: string): Promise<Result> => {
    const said = { ready: true, reason: 'OtherName', observedGeneration: object.generation };
    const message = `another name for ${external}`;
    if (parseServiceHost(external)?.kind === 'Service')
      return void (await report(object, { ...said, message }));
    const found = await lookup(external, { all: true, family: 4 }).catch(() => []);
    const ips = found.map(({ address }) => address);
    const { external: before } = object.status ?? {};
    // Names with many addresses give another one each time.
    const ip = before !== undefined && (ips.length === 0 || ips.includes(before)) ? before : ips[0];
    const how =
      ip === undefined
        ? { message: `${message}, which this machine cannot find` }
        : { message, external: ip };
    await report(object, { ...said, ...how });
    return { again: LOOK_AGAIN_MS };
  };

  const gone = async (object: Stored<'manifest'>): Promise<undefined> => {
    await store.remove('manifest', object.name);
    await forgetUnused(store, object);
  };

  const isTaken = (address: Address, anyPort: boolean, service: string): boolean => {
    const isMeant = (key: string) =>
      anyPort ? key.startsWith(`${address.host}:`) : key === addressKey(address);
    return (
      [...claimed].some(([key, whose]) => whose !== service && isMeant(key)) ||
      store.by('manifest/address', anyPort ? address.host : addressKey(address)).some(m => m.name !== service)
    );
  };

  const reportService = async (
    object: Stored<'manifest'>,
    addresses: Readonly<Record<number, Address>>,
  ): Promise<void> => {
    const all = [...transportsOf(object.spec as Service)].flatMap(([port, transports]) =>
      transports.map(transport => deps.listening(addresses[port]!, transport)),
    );
    const failed = all.find(one => typeof one !== 'string');
    const how =
      failed !== undefined
        ? portTaken(failed.problem)
        : all.includes('opening')
          ? opening
          : answers(object, addresses);
    await report(object, { ...how, observedGeneration: object.generation, addresses });
  };

  /** @returns false: once it is deployed again, nothing is said any more of the try before */
  const report = async (object: Stored<'manifest'>, status: ManifestStatus): Promise<boolean> => {
    let isNewest = false;
    let last = null as ManifestStatus | null;
    await store.modify('manifest', object.name, ({ secret, status: before }) => {
      isNewest = secret?.tries === object.secret?.tries;
      last = before;
      return isNewest ? { status: { ...status, ...(before?.found && { found: before.found }) } } : undefined;
    });
    const { kind, name } = object;
    const crash = isNewest ? crashSince(last ?? undefined, status, name) : undefined;
    if (crash !== undefined)
      await store.record({ kind, name, severity: 'warning', reason: 'Crashed', message: crash });
    return isNewest;
  };

  return async (name, signal) => {
    const object = store.get('manifest', name);
    if (object === undefined) return;
    const ctx: Ctx = { signal, log: deps.log.child({ manifest: name }) };
    const { spec } = object;
    const asked = asWorkload(spec);
    if (asked !== undefined) return workload(object, asked, ctx);
    if (spec.kind === 'Service') return service(object, spec);
    if (object.deletedAt !== undefined) return gone(object);
    await report(object, {
      ready: true,
      reason: 'Stored',
      message: 'stored',
      observedGeneration: object.generation,
    });
    return;
  };
}

const LOOK_AGAIN_MS = 60_000;

function transportsOf(service: Service): ReadonlyMap<number, readonly ('tcp' | 'udp')[]> {
  const all = new Map<number, ('tcp' | 'udp')[]>();
  for (const { port, protocol = 'TCP' } of service.spec.ports ?? [])
    all.set(port, [...(all.get(port) ?? []), protocol === 'UDP' ? 'udp' : 'tcp']);
  return all;
}

function answers({ spec, status }: Stored<'manifest'>, addresses: Readonly<Record<number, Address>>) {
  const passing = Object.entries(speechOfPorts(spec as Service, status?.found)).flatMap(([port, speaks]) =>
    speaks === 'http' || speaks === 'unknown' ? [] : [`${port} (${speaks.toUpperCase()})`],
  );
  const more = passing.length === 0 ? '' : `; passes through to the baseline: ${passing.join(', ')}`;
  const all = Object.values(addresses);
  const where = all.length === 0 ? '' : ` at ${all[0]!.host}:${all.map(({ port }) => port).join(', ')}`;
  return { ready: true, reason: 'Listening', message: `the router answers for it${where}${more}` };
}
/** The router tells when it does. */
const opening = { ready: false, reason: 'Opening', message: 'the router opens its address' } as const;
const portTaken = (message: string) => ({ ready: false, reason: 'PortTaken', message });
