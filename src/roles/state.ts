/** The store of one machine, and room for its writes when the disk has none. */
import { join } from 'node:path';
import { ballast } from '../lib/ballast.ts';
import type { Log } from '../lib/log.ts';
import type { Store } from '../store/contract.ts';

export type State = {
  readonly store: Store;
  /** Nobody has written to it yet. */
  readonly fresh: boolean;
  /** Looks from now on that the room is kept. @returns the way to stop that */
  keepRoom(): () => void;
};

export async function openState(home: string, log: Log): Promise<State> {
  const { openStore } = await import('../store/sqlite.ts');
  const room = ballast(join(home, 'state.ballast'), keptForState.bytes, keptForState.spareBytes);
  const file = join(home, 'state.db');
  const onNoSpace = async () => (await room.giveTo(`${file}-wal`)) > 0;
  const store = openStore(file, { log, onNoSpace });
  return {
    store,
    fresh: store.version() === 0,
    keepRoom() {
      const look = () => room.take().catch(err => log.warn({ err }, 'no room could be kept for the state'));
      const timer = setInterval(look, keptForState.everyMs);
      void look();
      return () => clearInterval(timer);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Room on the disk for writes of intent (deletes, for example) when there is none any more. */
const keptForState = { bytes: 8 * 1024 * 1024, spareBytes: 64 * 1024 * 1024, everyMs: 60_000 };
