/** Which ConfigMaps and Secrets a pod is made of. */
import type { PodTemplate } from './kubernetes.ts';

export type PodSources = { readonly ConfigMap: ReadonlySet<string>; readonly Secret: ReadonlySet<string> };

/** Names of those that variables, `envFrom` and volumes mention; they are in the pod's namespace. */
export function podSources({ spec }: PodTemplate): PodSources {
  const found = { ConfigMap: new Set<string>(), Secret: new Set<string>() };
  for (const { env = [], envFrom = [] } of [...spec.containers, ...(spec.initContainers ?? [])]) {
    for (const { valueFrom } of env) {
      if (valueFrom?.configMapKeyRef) found.ConfigMap.add(valueFrom.configMapKeyRef.name);
      if (valueFrom?.secretKeyRef) found.Secret.add(valueFrom.secretKeyRef.name);
    }
    for (const source of envFrom) {
      if (source.configMapRef) found.ConfigMap.add(source.configMapRef.name);
      if (source.secretRef) found.Secret.add(source.secretRef.name);
    }
  }
  for (const { configMap, secret, projected } of spec.volumes ?? []) {
    if (configMap) found.ConfigMap.add(configMap.name);
    if (secret) found.Secret.add(secret.secretName);
    for (const source of projected?.sources ?? []) {
      if (source.configMap) found.ConfigMap.add(source.configMap.name);
      if (source.secret) found.Secret.add(source.secret.name);
    }
  }
  return found;
}
