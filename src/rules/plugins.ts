/** Intents about plugins: versions never change once they are published, and stay while a sandbox holds them. */
import { isDeepStrictEqual } from 'node:util';
import { OffshootError } from '../model/errors.ts';
import type { ResourcePlugin } from '../model/plugin.ts';
import { canonicalPluginName, comparePluginVersions } from '../model/plugin-name.ts';
import type { Store, Stored } from '../store/contract.ts';
import { holding } from './locks.ts';

/** Installs a plugin version. The same content again is `unchanged`. @throws OffshootError plugin/exists */
export async function applyPlugin(
  store: Store,
  plugin: ResourcePlugin,
): Promise<{ name: string; outcome: 'created' | 'unchanged' }> {
  const { bare, version } = canonicalPluginName(plugin.name);
  const name = `${bare}@${version}`;
  return holding(store, { alone: [pluginLock(name)] }, async () => {
    const before = store.get('plugin', name);
    if (before === undefined) {
      await store.create('plugin', name, { spec: plugin.spec, status: null, secret: null });
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
    await store.modify('plugin', name, () => ({ spec: plugin.spec }));
    return { name, outcome: 'created' as const };
  });
}

/** @throws OffshootError api/not-found, plugin/in-use */
export function deletePlugin(store: Store, reference: string): Promise<string> {
  return holding(store, { alone: [pluginLock(reference)] }, async () => {
    const plugin = findPlugin(store, reference);
    if (plugin === undefined)
      throw new OffshootError('api/not-found', { kind: 'resourceplugin', name: reference });
    const users = usersOf(store, plugin.name);
    if (users.length > 0)
      throw new OffshootError('plugin/in-use', { plugin: plugin.name, sandboxes: users.join(', ') });
    await store.remove('plugin', plugin.name);
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
  return store.by('plugin/bare-name', bare!).toSorted((a, b) => comparePluginVersions(b.name, a.name))[0];
}

/** All versions of a plugin are locked as one: which one a reference means depends on the others. */
export const pluginLock = (reference: string): string => `plugin/${reference.split('@')[0]}`;

// --- internal -----------------------------------------------------------------------------------

const usersOf = (store: Store, plugin: string): readonly string[] =>
  store.by('sandbox/plugin', plugin).map(s => s.name);
