/**
 * How strategic merge patches treat the lists of a Deployment: the `patchStrategy` and `patchMergeKey`
 * marks of Kubernetes' API types (API reference, "patch strategy" and "patch merge key"). A map is always
 * merged and a list that is not here is replaced as a whole (tolerations, command, args, envFrom, …).
 */

export type MergeRule =
  /** A map with some lists further down. */
  | { readonly kind: 'map'; readonly fields: MergeRules }
  /** A list of maps; those with equal `key` are the same element. */
  | { readonly kind: 'list'; readonly key: string; readonly fields: MergeRules }
  /** A list of scalars, each once. */
  | { readonly kind: 'set' };

export type MergeRules = Readonly<Record<string, MergeRule>>;

const map = (fields: MergeRules): MergeRule => ({ kind: 'map', fields });
const list = (key: string, fields: MergeRules = {}): MergeRule => ({ kind: 'list', key, fields });

const container: MergeRules = {
  env: list('name'),
  ports: list('containerPort'),
  volumeDevices: list('devicePath'),
  volumeMounts: list('mountPath'),
};

const metadata = map({ finalizers: { kind: 'set' }, ownerReferences: list('uid') });

const podSpec = map({
  containers: list('name', container),
  ephemeralContainers: list('name', container),
  hostAliases: list('ip'),
  imagePullSecrets: list('name'),
  initContainers: list('name', container),
  resourceClaims: list('name'),
  schedulingGates: list('name'),
  topologySpreadConstraints: list('topologyKey'),
  volumes: list('name'),
});

export const deploymentMergeRules: MergeRules = {
  metadata,
  spec: map({ template: map({ metadata, spec: podSpec }) }),
};
