/** The reconcilers together, as the daemon runs them, on drivers in memory. */
import { silentLog } from '../../src/lib/log.ts';
import type { Address } from '../../src/model/route.ts';
import { createLoop, type Loop } from '../../src/reconcile/loop.ts';
import type { Store } from '../../src/store/contract.ts';
import type { MemoryWorld } from './memory-drivers.ts';

/** A loop on `store` and `world`, whose addresses are 127.77.0.1 with the Service's port. */
export function loopOn(
  store: Store,
  world: MemoryWorld,
  { problems, baseMs = 1 }: { problems?: ReadonlyMap<number, string>; baseMs?: number } = {},
): Loop {
  return createLoop({
    ...world,
    store,
    dropSessions: () => {},
    gateway: () => ({ host: '127.0.0.1', port: 7432 }),
    site: () => ({ domain: 'localhost', scheme: 'http', port: 7480 }),
    scriptEnv: () => ({}),
    keep: [],
    stepMs: 60_000,
    allocate: (_service: string, port: number): Address => ({ host: '127.77.0.1', port }),
    listenProblem: ({ port }) => problems?.get(port),
    pauses: { baseMs, maxMs: 4 * baseMs, soundMs: 60_000 },
    collectEveryMs: 3_600_000,
    now: () => new Date(),
    log: silentLog,
  });
}
