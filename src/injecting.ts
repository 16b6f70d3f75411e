/** Sidecars in a cluster: who asks for one gets one, and a sandbox hears whether they know its key. */
import type { Baseline } from './baseline/contract.ts';
import type { ClusterClient } from './kubernetes/client.ts';
import type { InformerState } from './kubernetes/informer.ts';
import { followSidecars } from './kubernetes/sidecars.ts';
import type { Log } from './lib/log.ts';
import type { Address } from './model/route.ts';
import type { WorkloadKey } from './model/sandbox.ts';
import type { FollowerView } from './model/view.ts';
import type { Routers } from './reconcile/routers.ts';
import type { House } from './roles/cluster-house.ts';
import type { SidecarSettings } from './webhook/inject.ts';
import { openAdmission } from './webhook/open.ts';

export type InjectingOptions = {
  readonly client: ClusterClient;
  readonly baseline: Baseline;
  /** Of the baseline; undefined: all. */
  readonly namespaces: readonly string[] | undefined;
  readonly house: House;
  /** Where the API server asks. */
  readonly at: Address;
  /** Of the webhook configurations. */
  readonly name: string;
  readonly settings: Omit<SidecarSettings, 'authorities'>;
  readonly followers: () => readonly FollowerView[];
  /** Asks for a look at the sandboxes that fork it. */
  readonly look: (workload: WorkloadKey) => void;
  /** Told how fresh it is, as soon as that can be said. */
  readonly onOpening: (states: () => readonly InformerState[]) => void;
  readonly signal: AbortSignal;
  readonly log: Log;
};

export type Injecting = Routers & { close(): Promise<void> };

/** Resolves when pods that start from now on get what they ask for. @throws OffshootError host/port-taken; the signal's reason */
export async function openInjecting(o: InjectingOptions): Promise<Injecting> {
  const { client, baseline, house, settings, signal, log } = o;
  await using opened = new AsyncDisposableStack();
  const sidecars = followSidecars({
    ...{ client, namespaces: o.namespaces, followers: o.followers, onChange: o.look, log },
  });
  opened.defer(() => sidecars.close());
  const admission = await openAdmission({
    ...{ client, baseline, at: o.at, name: o.name, certificate: house.certificate, signal, log },
    settings: { ...settings, authorities: house.authority },
    onOpening: states => o.onOpening(() => [...states(), ...sidecars.states()]),
  });
  opened.defer(() => admission.close());
  await sidecars.synced;
  const closing = opened.move();
  return { problem: sidecars.problem, close: () => closing.disposeAsync() };
}
