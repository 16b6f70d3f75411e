/** The reconcilers together, as the daemon runs them, on drivers in memory. */
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Address } from '../../src/model/route.ts';
import { createLoop, type Loop, type LoopDeps } from '../../src/reconcile/loop.ts';
import type { Store } from '../../src/store/contract.ts';
import type { MemoryWorld } from './memory-drivers.ts';

export type LoopOptions = {
  readonly problems?: ReadonlyMap<number, string>;
  readonly baseMs?: number;
} & Partial<
  Pick<
    LoopDeps,
    | 'baseline'
    | 'branches'
    | 'door'
    | 'placement'
    | 'clock'
    | 'uses'
    | 'unheardMs'
    | 'programs'
    | 'resumed'
    | 'routed'
    | 'deletedKeysMs'
    | 'now'
  >
>;

/** A loop on `store` and `world`, whose addresses are 127.77.0.1 with the Service's port. */
export function loopOn(
  store: Store,
  world: MemoryWorld,
  { problems, baseMs = 1, ...more }: LoopOptions = {},
): Loop {
  return createLoop({
    branches: world.branches,
    programs: world,
    store,
    baseline: storeBaseline(store),
    gateway: () => ({ host: '127.0.0.1', port: 7432 }),
    site: () => ({ domain: 'localhost', scheme: 'http', port: 7480 }),
    scriptEnv: () => ({}),
    keep: [],
    stepMs: 60_000,
    addresses: {
      choose: (_service: string, port: number): Address => ({ host: '127.77.0.1', port }),
      fits: () => true,
    },
    listening({ port }) {
      const problem = problems?.get(port);
      return problem === undefined ? 'open' : { problem };
    },
    routed: async () => {},
    resumed: async () => {},
    deletedKeysMs: 0,
    pauses: { baseMs, maxMs: 4 * baseMs, soundMs: 60_000 },
    collectEveryMs: 3_600_000,
    now: () => new Date(),
    log: silentLog,
    ...more,
  });
}
