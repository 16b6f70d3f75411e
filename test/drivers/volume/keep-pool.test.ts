/** What removed volumes leave goes back to the host whatever happens meanwhile. File system and host are stand-ins. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backing } from '../../../src/drivers/volume/backing.ts';
import type { BtrfsCalls } from '../../../src/drivers/volume/btrfs-calls.ts';
import { keepPool } from '../../../src/drivers/volume/keep-pool.ts';
import type { Sizes } from '../../../src/drivers/volume/sizes.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { until } from '../../../src/lib/wait.ts';

/** Only what a keeper asks of a pool; `trim` and `commit` do what the test says. */
function pool({
  trim,
  commit,
}: {
  readonly trim: () => Promise<void>;
  readonly commit?: () => Promise<void>;
}) {
  const calls = { commit: commit ?? (async () => {}), isLeaving: async () => false };
  const backing = { look: async () => 5_000, sureBytes: async () => 0, trim };
  const sizes = { limitChildren: async () => {}, tidy: async () => {} };
  return keepPool({
    ...{ root: '/nowhere', reserveBytes: 0, log: silentLog },
    calls: calls as unknown as BtrfsCalls,
    backing: backing as unknown as Backing,
    sizes: sizes as unknown as Sizes,
  });
}

const deadlineMs = 20_000;

describe('the keeper of a pool', () => {
  it('trims once more for what was removed during a trim', async () => {
    const first = Promise.withResolvers<void>();
    let trims = 0;
    const keeper = pool({
      async trim() {
        trims++;
        if (trims === 1) await first.promise;
      },
    });
    keeper.removed(256n);
    await until(() => trims === 1 || undefined, { what: 'the first trim', deadlineMs });
    keeper.removed(257n);
    first.resolve();
    await until(() => trims === 2 || undefined, { what: 'another trim', deadlineMs });
    await keeper.stop();
  });

  it('goes on when there was no room to commit', async () => {
    let [commits, trims] = [0, 0];
    const keeper = pool({
      async commit() {
        commits++;
        if (commits === 1) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      },
      async trim() {
        trims++;
      },
    });
    keeper.removed(256n);
    await until(() => trims === 1 || undefined, { what: 'a trim', deadlineMs });
    await keeper.stop();
  });

  it('stops while it waits for room', async () => {
    const keeper = pool({
      commit: () => Promise.reject(new Error('no space left on device')),
      trim: () => assert.fail('there is nothing to trim'),
    });
    keeper.removed(256n);
    await keeper.stop();
  });
});
