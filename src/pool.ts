/** What a person may do to the pool of a data directory; what changes it only while nobody else uses the directory. */
import { join } from 'node:path';
import type { Config } from './config.ts';
import { folderIn, imageIn } from './drivers/volume/choose.ts';
import * as care from './drivers/volume/pool-care.ts';
import { lockHome } from './roles/home-lock.ts';

export type { PoolFindings, PoolSeen } from './drivers/volume/pool-care.ts';
export { initUserPool } from './drivers/volume/user-pool.ts';

/** @throws OffshootError volume/no-pool */
export const seePool = async (config: Config): Promise<care.PoolSeen> =>
  (await care.seeUserPool(folderIn(config.home))) ?? (await care.seePool(placeOf(config)));

/** @throws OffshootError volume/no-pool */
export const checkPool = (config: Config, signal: AbortSignal): Promise<care.PoolFindings> =>
  care.checkPool(placeOf(config), signal);

/** @throws OffshootError volume/no-pool, volume/pool-in-use, volume/pool-size, host/already-running */
export const resizePool = (config: Config, bytes: number): Promise<void> =>
  alone(config, () => care.resizePool(placeOf(config), bytes));

/**
 * @returns where it is now
 * @throws OffshootError volume/no-pool, volume/pool-in-use, volume/pool-place, host/already-running; the signal's reason
 */
export const movePool = (config: Config, directory: string, signal: AbortSignal): Promise<string> =>
  alone(config, () => care.movePool(placeOf(config), directory, `offshoot-${config.instance}.img`, signal));

// --- internal ------------------------------------------------------------------------------------

const placeOf = ({ home, runtimeDir }: Config): care.PoolPlace => ({
  image: imageIn(home),
  mountPoint: join(runtimeDir, 'pool'),
});

async function alone<T>(config: Config, work: () => Promise<T>): Promise<T> {
  await care.seePool(placeOf(config)); // before a data directory is made that was not there
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  return await work();
}
