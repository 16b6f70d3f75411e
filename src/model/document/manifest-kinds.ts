/** The kinds of object that a folder of manifests may hold beside those that make up a baseline here. Pure. */
import { similarName } from '../names.ts';
import type { Finding } from './problem.ts';

/**
 * `read`: one of ours. `not-run`: a cluster would run something, which does not run here yet. `hook`: one of ours that is
 * for another time than a deploy. `none`: without an effect where containers run as processes (access rights, ingress,
 * scaling, custom resources, …). `kustomize`: what says how the others are put together. `no-object`: another YAML or JSON file in the folder.
 */
export type Effect = 'read' | 'not-run' | 'hook' | 'none' | 'kustomize' | 'no-object';

/** An object that was left out. Where it stands is as in a `Problem`. */
export type LeftOut = {
  readonly kind: string;
  readonly apiVersion: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly effect: Exclude<Effect, 'read'>;
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
};

/** @returns what an object comes to here; or what is wrong with its kind: a slip of the finger must not be left out in silence */
export function effectOf(object: {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: unknown;
  readonly spec?: unknown;
}): Effect | Finding {
  const { apiVersion, kind } = object;
  if (kind === undefined) return { path: ['kind'], message: 'missing field "kind"', at: 'key' };
  if (typeof kind !== 'string' || kind === '') return { path: ['kind'], message: 'expected a string' };
  if (kind === 'List') return { path: ['items'], message: 'a List needs a list of items', at: 'key' };
  // The schemas know which apiVersion ours have; a custom resource may have the name of one of them.
  if (OWN.includes(kind) && !isCustom(apiVersion)) return isForLater(object) ? 'hook' : 'read';
  if (kind === 'EndpointSlice' && apiVersion === 'discovery.k8s.io/v1') return 'read';
  if (kind === 'Rollout' && isArgo(apiVersion) && !refersToTemplate(object)) return 'read';
  const suggestion = ALL.includes(kind) ? undefined : similarName(kind, ALL);
  if (apiVersion === undefined)
    return { path: ['apiVersion'], message: `missing field "apiVersion" of ${kind}`, suggestion, at: 'key' };
  if (typeof apiVersion !== 'string') return { path: ['apiVersion'], message: 'expected a string' };
  const known = Object.hasOwn(CLOSED, apiVersion) ? CLOSED[apiVersion]! : undefined;
  if (known !== undefined && !known.includes(kind) && !RUNNING.has(kind))
    return { path: ['kind'], message: `${apiVersion} has no kind ${kind}`, suggestion };
  if (apiVersion.startsWith('kustomize.config.k8s.io/')) return 'kustomize';
  return RUNNING.has(kind) ? 'not-run' : 'none';
}

/** The same wherever in the files it stands. */
export const idOfLeftOut = (object: LeftOut): string =>
  `left out ${kindOf(object)} ${object.namespace ?? ''}/${object.name ?? ''}`;

/** One line for each effect, e.g. `2 ServiceAccount, 1 Ingress: no effect here`. */
export function leftOutLines(leftOut: readonly LeftOut[]): readonly string[] {
  return (['not-run', 'hook', 'none', 'kustomize', 'no-object'] as const).flatMap(effect => {
    const counts = new Map<string, number>();
    for (const object of leftOut.filter(object => object.effect === effect)) {
      const kind = kindOf(object);
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    if (counts.size === 0) return [];
    const kinds = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
    return [`left out: ${kinds}: ${SAY[effect]}`];
  });
}

/** `k8s.yaml:3:1: Ingress demo/web: no effect where containers run as processes` */
export function leftOutLine(object: LeftOut): string {
  const { namespace, name, effect, file, line, column } = object;
  const place = line === undefined || effect === 'no-object' ? file : `${file}:${line}:${column}`;
  if (effect === 'no-object') return `${place}: ${SAY[effect]}`;
  const who = [namespace, name]
    .filter(part => part !== undefined)
    .join('/')
    .replace(/\s+/g, ' '); // anybody's text
  return `${place}: ${kindOf(object)}${who === '' ? '' : ` ${who}`}: ${SAY[effect]}`;
}

// --- internal -----------------------------------------------------------------------------------

/** A custom resource that has the name of one of our kinds is told apart as kubectl does it. */
const kindOf = ({ kind, apiVersion }: LeftOut): string =>
  OWN.includes(kind) && isCustom(apiVersion) ? `${kind}.${apiVersion.split('/')[0]}` : kind;

const SAY = {
  'not-run': 'does not run here yet',
  hook: 'hooks of Helm or Argo CD that do not belong to a deploy (tests, deletions, rollbacks)',
  'no-object': 'without apiVersion and kind, so no objects of Kubernetes',
  none: 'no effect where containers run as processes',
  kustomize: 'the folder is deployed as it is; -k renders it',
} as const;

/** As in `manifestSchemas`, which would be a circle; Rollout apart, which is a custom resource itself. */
const OWN: readonly string[] = [
  ...['ConfigMap', 'Endpoints', 'EndpointSlice', 'Namespace', 'PersistentVolumeClaim', 'Secret', 'Service'],
  ...['CronJob', 'DaemonSet', 'Deployment', 'Job', 'Pod', 'ReplicaSet', 'ReplicationController'],
  'StatefulSet',
];

/** Kinds that make pods and are not read: those of others that stand in the place of Kubernetes' own. */
const RUNNING: ReadonlySet<string> = new Set([
  ...['Rollout', 'DeploymentConfig', 'CloneSet', 'ScaledJob', 'Workflow', 'CronWorkflow', 'TaskRun'],
]);

/** Groups whose kinds are all known (API reference, v1.34), so that another kind in them is a mistake. */
const CLOSED: Readonly<Record<string, readonly string[]>> = {
  v1: [
    ...['Binding', 'ConfigMap', 'Endpoints', 'Event', 'LimitRange', 'Namespace', 'Node', 'PersistentVolume'],
    ...['PersistentVolumeClaim', 'Pod', 'PodTemplate', 'ReplicationController', 'ResourceQuota', 'Secret'],
    ...['Service', 'ServiceAccount', 'ComponentStatus'],
  ],
  'apps/v1': ['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'],
  'batch/v1': ['CronJob', 'Job'],
};
const ALL = Object.values(CLOSED).flat();

/** Groups with a dot are not those that ours are of. */
const isCustom = (apiVersion: unknown): boolean =>
  typeof apiVersion === 'string' && /^[^/]*\.[^/]*\//.test(apiVersion);

const isArgo = (apiVersion: unknown): boolean =>
  typeof apiVersion === 'string' && apiVersion.startsWith('argoproj.io/');

/**
 * Hooks for other times than an installation, an upgrade or a sync: nobody wants them to run because he deploys
 * (helm.sh/docs/topics/charts_hooks, argo-cd.readthedocs.io "Resource Hooks"). The others are applied as what they are.
 */
function isForLater({ metadata }: { readonly metadata?: unknown }): boolean {
  const { annotations } = asObject(metadata);
  const { 'helm.sh/hook': helm, 'argocd.argoproj.io/hook': argo } = asObject(annotations);
  const named = [helm, argo].flatMap(hooks => (typeof hooks === 'string' ? hooks.split(',') : []));
  return named.length > 0 && !named.some(hook => AT_DEPLOY.has(hook.trim()));
}

const AT_DEPLOY: ReadonlySet<string> = new Set([
  ...['pre-install', 'post-install', 'pre-upgrade', 'post-upgrade', 'PreSync', 'Sync', 'PostSync'],
]);

const asObject = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

/** Its template is that of a Deployment that stands elsewhere, and runs anyway. */
const refersToTemplate = ({ spec }: { readonly spec?: unknown }): boolean =>
  typeof spec === 'object' && spec !== null && 'workloadRef' in spec && !('template' in spec);
