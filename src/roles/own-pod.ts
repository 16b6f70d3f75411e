/** What is said about the pod that this process is, where `kubectl describe` shows it. */
import { randomBytes } from 'node:crypto';
import type { ClusterClient } from '../kubernetes/client.ts';
import { resources } from '../kubernetes/resource.ts';
import type { Log } from '../lib/log.ts';
import { backoffMs, delay } from '../lib/wait.ts';
import type { Env } from './environment.ts';

/**
 * Writes an event of core/v1; nobody waits for it. One that cannot be written is tried again for some minutes: it may be about the API
 * server itself. Outside of a pod there is none.
 * @param env POD_NAME, POD_UID and POD_NAMESPACE, by which the chart says which pod it is
 * @param signal aborts when nothing is to be tried any more
 * @param pauseMs of the shortest and the longest pause between tries
 */
export const tellOfOwnPod =
  (
    client: Pick<ClusterClient, 'create'>,
    { POD_NAME: name, POD_UID: uid, POD_NAMESPACE: namespace }: Env,
    log: Log,
    signal: AbortSignal,
    [shortest, longest]: readonly [number, number] = [1_000, 30_000],
  ) =>
  async (reason: string, message: string): Promise<void> => {
    if (!name || !uid || !namespace) return;
    const at = new Date().toISOString();
    const event = {
      ...{ apiVersion: 'v1', kind: 'Event' },
      metadata: { name: `${name}.${randomBytes(6).toString('hex')}`, namespace },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
      ...{ type: 'Warning', reason, message: message.slice(0, 1_000) },
      source: { component: 'offshoot.dev/controller' },
      ...{ firstTimestamp: at, lastTimestamp: at, count: 1 },
    };
    for (let tries = 0; tries < MOST_TRIES && !signal.aborted; tries++) {
      try {
        await client.create(resources.Event, event, { deadlineMs: 5_000, signal });
        return;
      } catch (err) {
        log.debug({ err, reason }, 'an event could not be written');
        await delay(backoffMs(tries, shortest, longest), signal).catch(() => {});
      }
    }
  };

// --- internal ------------------------------------------------------------------------------------

/** About eight minutes. */
const MOST_TRIES = 20;
