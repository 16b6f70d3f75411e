import type { WorkloadDriver } from '../../src/drivers/contract.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { LogQuery } from '../../src/model/log.ts';

/** The newest lines of a workload's log, without who says them. */
export const said = (
  driver: WorkloadDriver,
  id: string,
  lines: number,
  query: Partial<LogQuery> = {},
): Promise<string[]> =>
  Array.fromAsync(
    driver.logs(id, { lines, ...query }, { signal: AbortSignal.timeout(60_000), log: silentLog }),
    ({ text }) => text,
  );
