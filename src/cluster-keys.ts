/**
 * API keys of our own in a cluster: in a Secret, so that they are the same for every controller. A step that runs while its
 * controller is replaced goes on with the next one.
 */
import { newKey } from './api/keys.ts';
import type { InternalKeys } from './internal-keys.ts';
import { type ClusterClient, isCode } from './kubernetes/client.ts';
import { type KubernetesObject, resources } from './kubernetes/resource.ts';

/** @throws OffshootError kubernetes/… */
export async function clusterKeys(
  client: ClusterClient,
  place: { readonly namespace: string; readonly name: string },
): Promise<InternalKeys> {
  const known = keysIn(await client.get(resources.Secret, place));
  if (known !== undefined) return known;
  const keys: InternalKeys = { cli: newKey(), step: newKey() };
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: place, type: 'Opaque', stringData: keys };
  try {
    await client.create<KubernetesObject>(resources.Secret, secret);
    return keys;
  } catch (error) {
    if (!isCode(error, 'kubernetes/conflict')) throw error;
    return clusterKeys(client, place);
  }
}

// --- internal -----------------------------------------------------------------------------------

function keysIn(secret: KubernetesObject | undefined): InternalKeys | undefined {
  if (secret === undefined) return undefined;
  const { cli, step } = (secret.data ?? {}) as { readonly cli?: string; readonly step?: string };
  const text = (value = ''): string => Buffer.from(value, 'base64').toString();
  return { cli: text(cli), step: text(step) };
}
