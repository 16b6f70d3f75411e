/** Small documents for tests of the control plane, put into a store as the API does. */
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { CronJobManifest, Deployment, Manifest, Service, Workload } from '../../src/model/kubernetes.ts';
import type { PluginSpec, PluginStep } from '../../src/model/plugin.ts';
import type { Fork, SandboxSpec, WorkloadKey } from '../../src/model/sandbox.ts';
import { createProject } from '../../src/rules/branches.ts';
import { applyManifests } from '../../src/rules/manifests.ts';
import { applyPlugin } from '../../src/rules/plugins.ts';
import { applySandbox } from '../../src/rules/sandboxes.ts';
import type { Store, Stored } from '../../src/store/contract.ts';

/** A time that only tests move. */
export type TestClock = { now(): Date; forward(ms: number): void };

export function testClock(start = '2030-01-01T00:00:00.000Z'): TestClock {
  let time = Date.parse(start);
  return {
    now: () => new Date(time),
    forward(ms) {
      time += ms;
    },
  };
}

type Containers = Deployment['spec']['template']['spec']['containers'];

/** Deployment `demo/<name>`, its pods labelled `app: <name>`, with one container that has port 3000, named `http`. */
export const deployment = (name: string, container: Partial<Containers[number]> = {}): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'demo' },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: {
        containers: [
          { name: 'main', image: `${name}:1`, ports: [{ name: 'http', containerPort: 3000 }], ...container },
        ],
      },
    },
  },
});

/** StatefulSet `demo/<name>` with one container and the disk `data`. */
export const statefulSet = (
  name: string,
  spec: Partial<Workload['spec']> = {},
  container: Partial<Containers[number]> = {},
): Workload<'StatefulSet'> => ({
  ...deployment(name, container),
  kind: 'StatefulSet',
  spec: {
    ...deployment(name, container).spec,
    volumeClaimTemplates: [{ metadata: { name: 'data' } }],
    ...spec,
  },
});

type PodParts = Readonly<Record<string, unknown>>;

/** Job `demo/<name>` with one container, which is not started again. */
export const job = (
  name: string,
  container: Partial<Containers[number]> = {},
  spec: PodParts = {},
): Workload<'Job'> => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name, namespace: 'demo' },
  spec: {
    ...spec,
    template: {
      spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: `${name}:1`, ...container }] },
    },
  },
});

/** CronJob `demo/<name>` of that Job. */
export const cronJob = (name: string, schedule: string, spec: PodParts = {}): CronJobManifest => ({
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name, namespace: 'demo' },
  spec: { schedule, ...spec, jobTemplate: { spec: job(name).spec } },
});

/** Service `demo/<name>` for pods labelled `app: <name>`. */
export const service = (name: string, ...ports: NonNullable<Service['spec']['ports']>): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'demo' },
  spec: { selector: { app: name }, ports },
});

export const configMap = (name: string, data: Readonly<Record<string, string>>): Manifest => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'demo' },
  data,
});

/** Creates or changes manifests. @returns the name of the last one in the store */
export async function deploy(store: Store, ...manifests: readonly Manifest[]): Promise<string> {
  return (await applyManifests(store, manifests)).applied.at(-1)!.object.name;
}

export const forkOf = (name: string): WorkloadKey => ({ kind: 'Deployment', namespace: 'demo', name });

/** A fork of `demo/<name>` with these variables: a text, or where the value comes from. */
export const fork = (
  name: string,
  env: Readonly<
    Record<
      string,
      string | NonNullable<NonNullable<NonNullable<Fork['customizations']>['env']>[number]['valueFrom']>
    >
  > = {},
): Fork => ({
  forkOf: forkOf(name),
  customizations: {
    env: Object.entries(env).map(([variable, source]) =>
      typeof source === 'string' ? { name: variable, value: source } : { name: variable, valueFrom: source },
    ),
  },
});

export const applied = async (
  store: Store,
  name: string,
  spec: Omit<SandboxSpec, 'cluster'> = {},
): Promise<Stored<'sandbox'>> =>
  (await applySandbox(store, storeBaseline(store), { name, spec: { cluster: 'local', ...spec } })).object;

export const input = (name: string, step?: string, output = 'id') =>
  step === undefined ? { name, valueFromSandbox: true } : { name, valueFromStep: { name: step, output } };

/** A script step whose outputs are all named in its script, see the memory step driver. */
export const step = (
  name: string,
  script: string,
  inputs: NonNullable<PluginStep['inputs']> = [],
): PluginStep => ({
  name,
  script,
  inputs,
  outputs: [...script.matchAll(/^output (\S+)/gm)].map(([, output = '']) => ({
    name: output,
    valueFromPath: output,
  })),
});

/** One that makes the thing `table`, with output `make.id`, and removes it. */
export const tablePlugin: PluginSpec = {
  create: [step('make', 'make table\noutput id table')],
  delete: [step('unmake', 'remove $id', [input('id', 'make')])],
};

/** The built-in branch actions: output `provision.connection-string` and others. */
export const branchPlugin: PluginSpec = {
  create: [{ name: 'provision', uses: 'branch/create', inputs: [input('parent-branch')] }],
  delete: [{ name: 'deprovision', uses: 'branch/delete' }],
};

export const install = async (store: Store, name: string, spec: PluginSpec): Promise<string> =>
  (await applyPlugin(store, { name, spec })).name;

/** Project `default` with database and role `app`. @returns its root branch */
export async function defaultProject(store: Store): Promise<Stored<'branch'>> {
  await createProject(store, 'default', { database: 'app', role: 'app' });
  return store.list('branch')[0]!;
}
