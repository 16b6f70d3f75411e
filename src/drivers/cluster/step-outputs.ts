/** What a step's outputs are, as the collector in its pod tells them (collector.ts). */
import { type ClusterClient, isCode } from '../../kubernetes/client.ts';
import { unseal } from '../../lib/sealed.ts';
import { backoffMs, delay } from '../../lib/wait.ts';
import { OffshootError } from '../../model/errors.ts';
import type { CollectedOutputs } from '../../model/step-outputs.ts';
import { linesOf } from './pod-logs.ts';
import { collector } from './step-objects.ts';

/**
 * Waits until they are told, and asks again when the way to the pod's node is cut.
 * @param isOver says that nothing comes any more
 * @throws OffshootError step/interrupted when they never come; the signal's reason
 */
export async function collectedOutputs(
  client: ClusterClient,
  step: string,
  pod: { readonly namespace: string; readonly pod: string },
  key: string,
  isOver: () => boolean,
  signal: AbortSignal,
): Promise<CollectedOutputs> {
  for (let tries = 0; ; tries++) {
    const over = isOver();
    try {
      const answer = await client.log(pod, { container: collector, follow: 'true' }, { signal });
      const told = unseal(key, await Array.fromAsync(linesOf(answer)));
      if (told !== undefined) return JSON.parse(told) as CollectedOutputs;
      if (over) throw new OffshootError('step/interrupted', { step, why: 'its outputs were not told' });
    } catch (error) {
      signal.throwIfAborted();
      if (isCode(error, 'step/interrupted')) throw error;
      if (isCode(error, 'kubernetes/forbidden') || isCode(error, 'kubernetes/absent')) throw error;
      if (over && isCode(error, 'kubernetes/invalid'))
        throw new OffshootError(
          'step/interrupted',
          { step, why: 'its outputs cannot be read' },
          { cause: error },
        );
    }
    await delay(backoffMs(tries, 50, 2_000), signal);
  }
}
