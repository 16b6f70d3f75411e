import type { FastifyInstance } from 'fastify';
import { checkResourcePlugin } from '../model/document/plugin.ts';
import { OffshootError } from '../model/errors.ts';
import { canonicalPluginName } from '../model/plugin-name.ts';
import { applyPlugin, deletePlugin, findPlugin } from '../rules/plugins.ts';
import type { ApiContext } from './context.ts';
import { pluginView } from './views.ts';

type Params = { Params: { name: string } };

export function pluginRoutes(app: FastifyInstance, { store }: ApiContext): void {
  app.get('/resource-plugins', async () => store.list('plugin').map(p => pluginView(store, p)));

  app.get<Params>('/resource-plugins/:name', async ({ params }) => {
    const plugin = findPlugin(store, params.name);
    if (plugin === undefined)
      throw new OffshootError('api/not-found', { kind: 'resourceplugin', name: params.name });
    return pluginView(store, plugin);
  });

  app.put<Params>('/resource-plugins/:name', async (request, reply) => {
    const plugin = checkResourcePlugin(request.body ?? null);
    const same = canonicalPluginName(plugin.name);
    const path = canonicalPluginName(request.params.name);
    if (same.bare !== path.bare || same.version !== path.version) {
      throw new OffshootError('api/bad-request', {
        why: `the document is named "${plugin.name}", the path "${request.params.name}"`,
      });
    }
    const { name, outcome } = await applyPlugin(store, plugin);
    return reply
      .status(outcome === 'created' ? 201 : 200)
      .send({ ...pluginView(store, store.get('plugin', name)!), outcome });
  });

  app.delete<Params>('/resource-plugins/:name', async ({ params }) => ({
    name: await deletePlugin(store, params.name),
  }));
}
