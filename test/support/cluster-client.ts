/** Our client on the cluster that tests run on. */
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { type ClusterClient, clusterClient } from '../../src/kubernetes/client.ts';
import { contextName } from './cluster.ts';

export async function testClient(): Promise<ClusterClient> {
  const context = contextName === undefined ? {} : { context: contextName };
  return clusterClient(await kubeconfigAccess(process.env.KUBECONFIG!, { ...context, env: process.env }));
}
