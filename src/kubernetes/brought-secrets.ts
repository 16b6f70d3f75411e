/**
 * Secrets of an installation that was made when they were kept in another namespace: they are copied, so that whoever trusts
 * what is in them goes on. The old ones stay, since controllers of before may still be there; it is said that they are of no use.
 */
import type { Log } from '../lib/log.ts';
import { type ClusterClient, isCode } from './client.ts';
import { type KubernetesObject, resources } from './resource.ts';

/** May be repeated. @throws OffshootError kubernetes/… */
export async function bringSecrets(
  client: ClusterClient,
  names: readonly string[],
  { from, to }: { readonly from: string; readonly to: string },
  log: Log,
): Promise<void> {
  if (from === to) return;
  for (const name of names) {
    const before = await client.get(resources.Secret, { namespace: from, name });
    if (before === undefined) continue;
    if ((await client.get(resources.Secret, { namespace: to, name })) === undefined)
      await client
        .create<KubernetesObject>(resources.Secret, {
          ...{ apiVersion: 'v1', kind: 'Secret', type: before.type, data: before.data },
          metadata: { name, namespace: to },
        })
        .catch(error => {
          if (!isCode(error, 'kubernetes/conflict')) throw error;
        });
    log.warn(
      { command: `kubectl delete secret ${name} --namespace ${from}` },
      `the Secret "${name}" is kept in namespace "${to}" now; delete the one that is left in "${from}"`,
    );
  }
}
