/** How the process that decides is: its event loop, its CPU, its scheduler. */
import type { ApiContext } from '../api/context.ts';
import { measureLoopDelay } from '../lib/loop-delay.ts';
import type { Loop } from '../reconcile/loop.ts';

export function measure(scheduler: Loop['counts']): ApiContext['metrics'] & { close(): void } {
  const delay = measureLoopDelay();
  let since = new Date();
  let before = process.cpuUsage();
  return {
    read() {
      const { user, system } = process.cpuUsage(before);
      return {
        since: since.toISOString(),
        loopDelay: delay.read(),
        cpuMs: Math.round((user + system) / 1000),
        scheduler: scheduler(),
      };
    },
    reset() {
      delay.reset();
      since = new Date();
      before = process.cpuUsage();
    },
    close: delay.close,
  };
}
