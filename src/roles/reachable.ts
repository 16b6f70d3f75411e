/** How a role that runs in a cluster gets to its API server. */
import { type ClusterAccess, kubeconfigAccess, kubeconfigFile, podAccess } from '../kubernetes/access.ts';
import type { Env } from './environment.ts';

/**
 * As the service account of the pod that we are in; elsewhere by the kubeconfig.
 * @param context of the kubeconfig, which then counts also in a pod; undefined: its current one
 * @throws OffshootError kubernetes/config
 */
export function clusterAccess(env: Env, context?: string): Promise<ClusterAccess> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (context === undefined && host && port) return podAccess(host, Number(port));
  return kubeconfigAccess(kubeconfigFile(env), { env, ...(context !== undefined && { context }) });
}
