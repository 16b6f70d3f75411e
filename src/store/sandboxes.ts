/** Intents about sandboxes and plugins: what can be known to be wrong is refused before anything is kept. */

import { isDeepStrictEqual } from 'node:util';
import { randomRoutingKey } from '../lib/random.ts';
import { outputKeys } from '../model/document/plugin.ts';
import { endpointsOf } from '../model/endpoint.ts';
import { OffshootError } from '../model/errors.ts';
import type { Deployment, Service } from '../model/kubernetes.ts';
import { manifestName } from '../model/manifest-name.ts';
import { similarName } from '../model/names.ts';
import type { ResourcePlugin } from '../model/plugin.ts';
import { canonicalPluginName, comparePluginVersions } from '../model/plugin-name.ts';
import { newResourceRecord, type ResourceRecord } from '../model/resource-record.ts';
import type { Sandbox } from '../model/sandbox.ts';
import type { Store, Stored } from './contract.ts';

export type Applied = {
  readonly object: Stored<'sandbox'>;
  readonly outcome: 'created' | 'updated' | 'unchanged';
};

/**
 * Creates or updates a sandbox. One that has failed is tried again, also with the same document: what was
 * wrong may have been mended elsewhere. All references are checked against what is there now.
 * @throws OffshootError sandbox/*
 */
export function applySandbox(store: Store, { name, spec }: Sandbox): Applied {
  return store.transaction((): Applied => {
    const before = store.get('sandbox', name);
    if (before?.deletedAt !== undefined) throw new OffshootError('sandbox/deleting', { name });
    const resources = before?.secret.resources ?? {};
    if (before !== undefined) {
      if (spec.cluster !== before.spec.cluster)
        throw new OffshootError('sandbox/immutable', { name, path: 'spec.cluster' });
      const same = isDeepStrictEqual(spec.resources ?? [], before.spec.resources ?? []);
      // While nothing is provisioned there is nothing that a change could lose.
      const failed = Object.values(resources).every(r => r.phase === 'failed');
      if (!same && !failed) throw new OffshootError('sandbox/immutable', { name, path: 'spec.resources' });
    }
    const again = before?.status?.failed === true;
    const records: Record<string, ResourceRecord> = {};
    for (const resource of spec.resources ?? []) {
      const kept = resources[resource.name];
      // What a version made, that version removes: a newer one is only taken while nothing is there.
      const provisioned = kept !== undefined && kept.phase !== 'failed';
      const plugin = provisioned ? kept.plugin : resolvePlugin(store, resource).name;
      const fresh = !provisioned && (again || kept?.plugin !== plugin);
      records[resource.name] = fresh || kept === undefined ? newResourceRecord(plugin) : kept;
    }
    checkReferences(store, spec, records);
    if (before === undefined) {
      const secret = { routingKey: freshRoutingKey(store), resources: records };
      return { object: store.create('sandbox', name, { spec, status: null, secret }), outcome: 'created' };
    }
    const object = store.modify('sandbox', name, ({ secret, status }) => ({
      spec,
      secret: { ...secret, resources: records, ...(again && { tries: (secret.tries ?? 0) + 1 }) },
      ...(again &&
        status !== null && {
          status: { ...status, failed: false, reason: 'InProgress', message: 'tried again' },
        }),
    }))!;
    return { object, outcome: object.version === before.version ? 'unchanged' : 'updated' };
  });
}

/** Marks a sandbox for deletion; again is harmless. @returns undefined when there is none */
export function deleteSandbox(
  store: Store,
  name: string,
  { force }: { force: boolean },
): Stored<'sandbox'> | undefined {
  return store.modify('sandbox', name, object => ({
    deleted: true,
    ...(force && { secret: { ...object.secret, force: true } }),
  }));
}

/** Installs a plugin version. The same content again is `unchanged`. @throws OffshootError plugin/exists */
export function applyPlugin(
  store: Store,
  plugin: ResourcePlugin,
): { name: string; outcome: 'created' | 'unchanged' } {
  const { bare, version } = canonicalPluginName(plugin.name);
  const name = `${bare}@${version}`;
  return store.transaction(() => {
    const before = store.get('plugin', name);
    if (before === undefined) {
      store.create('plugin', name, { spec: plugin.spec, status: null, secret: null });
      return { name, outcome: 'created' as const };
    }
    if (isDeepStrictEqual(before.spec, plugin.spec)) return { name, outcome: 'unchanged' as const };
    // A bare name is the working copy: it may change while no sandbox holds it.
    const users = usersOf(store, name);
    if (version !== '0.0.0' || users.length > 0) {
      const [major = 0, minor = 0] = version.split('.').map(Number);
      throw new OffshootError('plugin/exists', {
        plugin: plugin.name,
        next: `${bare}@${major}.${minor + 1}.0`,
      });
    }
    store.modify('plugin', name, () => ({ spec: plugin.spec }));
    return { name, outcome: 'created' as const };
  });
}

/** @throws OffshootError api/not-found, plugin/in-use */
export function deletePlugin(store: Store, reference: string): string {
  return store.transaction(() => {
    const plugin = findPlugin(store, reference);
    if (plugin === undefined)
      throw new OffshootError('api/not-found', { kind: 'resourceplugin', name: reference });
    const users = usersOf(store, plugin.name);
    if (users.length > 0)
      throw new OffshootError('plugin/in-use', { plugin: plugin.name, sandboxes: users.join(', ') });
    store.remove('plugin', plugin.name);
    return plugin.name;
  });
}

/** `name`, `name@version` or `name@latest`; without a version the highest one. */
export function findPlugin(store: Store, reference: string): Stored<'plugin'> | undefined {
  const [bare, version] = reference.split('@');
  if (version !== undefined && version !== 'latest') {
    const { version: exact } = canonicalPluginName(reference);
    return store.get('plugin', `${bare}@${exact}`);
  }
  return store
    .list('plugin')
    .filter(p => p.name.startsWith(`${bare}@`))
    .sort((a, b) => comparePluginVersions(b.name, a.name))[0];
}

const usersOf = (store: Store, plugin: string): readonly string[] =>
  store
    .list('sandbox')
    .filter(s => Object.values(s.secret.resources).some(r => r.plugin === plugin))
    .map(s => s.name);

// --- internal -----------------------------------------------------------------------------------

function resolvePlugin(
  store: Store,
  resource: { readonly name: string; readonly plugin: string },
): Stored<'plugin'> {
  const plugin = findPlugin(store, resource.plugin);
  if (plugin !== undefined) return plugin;
  const known = store.list('plugin').flatMap(p => [p.name, p.name.split('@')[0]!]);
  const similar = similarName(resource.plugin, known);
  throw new OffshootError('sandbox/plugin-missing', {
    resource: resource.name,
    plugin: resource.plugin,
    similar,
  });
}

function checkReferences(
  store: Store,
  spec: Sandbox['spec'],
  records: Readonly<Record<string, ResourceRecord>>,
): void {
  const outputs = new Map<string, { plugin: string; keys: readonly string[] }>();
  for (const [resource, { plugin }] of Object.entries(records)) {
    outputs.set(resource, { plugin, keys: outputKeys(store.get('plugin', plugin)!.spec) });
  }
  (spec.forks ?? []).forEach((fork, i) => {
    const { namespace, name: workload } = fork.forkOf;
    requireManifest(store, 'Deployment', namespace, workload, `spec.forks[${i}].forkOf`);
    (fork.customizations?.env ?? []).forEach((env, j) => {
      const from = env.valueFrom;
      if (from === undefined || !('resource' in from)) return;
      const known = outputs.get(from.resource.name);
      const key = from.resource.outputKey;
      if (known === undefined || known.keys.includes(key)) return;
      throw new OffshootError('sandbox/output-unknown', {
        path: `spec.forks[${i}].customizations.env[${j}].valueFrom.resource.outputKey`,
        key,
        plugin: known.plugin,
        outputs: known.keys.join(', ') || 'none',
      });
    });
  });
  for (const endpoint of endpointsOf(spec)) {
    const { kind, namespace, object, path, port } = endpoint;
    if (kind === 'deployment') {
      const { spec: found } = requireManifest(store, 'Deployment', namespace, object, path);
      const ports = (found as Deployment).spec.template.spec.containers.flatMap(c =>
        (c.ports ?? []).map(p => p.containerPort),
      );
      if (!ports.includes(port)) throw portMissing(path, `Deployment "${object}"`, namespace, port, ports);
    } else {
      const { spec: found } = requireManifest(store, 'Service', namespace, object, path);
      const ports = ((found as Service).spec.ports ?? []).map(p => p.port);
      if (!ports.includes(port)) throw portMissing(path, `Service "${object}"`, namespace, port, ports);
    }
  }
}

function requireManifest(
  store: Store,
  kind: 'Deployment' | 'Service',
  namespace: string,
  name: string,
  path: string,
): Stored<'manifest'> {
  const found = store.get('manifest', manifestName(kind, namespace, name));
  if (found !== undefined && found.deletedAt === undefined) return found;
  const known = store
    .list('manifest')
    .filter(m => m.spec.kind === kind && m.spec.metadata.namespace === namespace);
  const similar = similarName(
    name,
    known.map(m => m.spec.metadata.name),
  );
  throw new OffshootError('sandbox/baseline-missing', { path, what: kind, name, namespace, similar });
}

const portMissing = (path: string, what: string, namespace: string, port: number, ports: readonly number[]) =>
  new OffshootError('sandbox/port-missing', {
    path,
    what,
    namespace,
    port,
    ports: ports.join(', ') || 'none',
  });

function freshRoutingKey(store: Store): string {
  const taken = new Set(store.list('sandbox').map(s => s.secret.routingKey));
  for (;;) {
    const key = randomRoutingKey();
    if (!taken.has(key)) return key;
  }
}
