/** What is said about the pod that this process is, where `kubectl describe` shows it. */
import { randomBytes } from 'node:crypto';
import type { ClusterClient } from '../kubernetes/client.ts';
import { resources } from '../kubernetes/resource.ts';
import type { Log } from '../lib/log.ts';
import type { Env } from './environment.ts';

/**
 * Writes an event of core/v1; one that cannot be written is logged, and nobody waits for it. Outside of a pod there is none.
 * @param env POD_NAME, POD_UID and POD_NAMESPACE, by which the chart says which pod it is
 */
export const tellOfOwnPod =
  (client: ClusterClient, { POD_NAME: name, POD_UID: uid, POD_NAMESPACE: namespace }: Env, log: Log) =>
  (reason: string, message: string): void => {
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
    client
      .create(resources.Event, event, { deadlineMs: 5_000 })
      .catch(err => log.debug({ err }, 'an event could not be written'));
  };
