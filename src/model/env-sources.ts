/** Where the containers of a pod take variables from. */
import type { PodTemplate } from './kubernetes.ts';

export type EnvSources = { readonly ConfigMap: ReadonlySet<string>; readonly Secret: ReadonlySet<string> };

/** Names of the ConfigMaps and Secrets that `env` and `envFrom` mention; they are in the pod's namespace. */
export function envSources({ spec }: PodTemplate): EnvSources {
  const found = { ConfigMap: new Set<string>(), Secret: new Set<string>() };
  for (const { env = [], envFrom = [] } of spec.containers) {
    for (const { valueFrom } of env) {
      if (valueFrom?.configMapKeyRef) found.ConfigMap.add(valueFrom.configMapKeyRef.name);
      if (valueFrom?.secretKeyRef) found.Secret.add(valueFrom.secretKeyRef.name);
    }
    for (const source of envFrom) {
      if (source.configMapRef) found.ConfigMap.add(source.configMapRef.name);
      if (source.secretRef) found.Secret.add(source.secretRef.name);
    }
  }
  return found;
}
