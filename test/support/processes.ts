/** The registry of processes in tests. */
import type { Processes } from '../../src/drivers/processes/contract.ts';
import { openProcesses } from '../../src/drivers/processes/registry.ts';
import { silentLog } from '../../src/lib/log.ts';

/**
 * A registry on `home`, which is its instance, too. To be closed.
 * @param grouped false: as on a machine without control groups
 */
export const testProcesses = (home: string, grouped = true): Promise<Processes> =>
  openProcesses({
    home,
    instance: home,
    path: process.env.PATH ?? '',
    cgroup: grouped ? process.env.OFFSHOOT_CGROUP : '/nonexistent',
    log: silentLog,
  });

/** Why parts have no control groups here; undefined when they have. */
export const groupsMissing = (processes: Processes): string | undefined =>
  processes.capabilities().find(c => c.name === 'processes/groups' && !c.ok)?.detail;
