import { checkResourcePlugin } from '../model/document/plugin.ts';
import { documentError, type Path, type Problem, toProblem } from '../model/document/problem.ts';
import { OffshootError } from '../model/errors.ts';
import type { ResourcePlugin } from '../model/plugin.ts';
import { canonicalPluginName } from '../model/plugin-name.ts';
import { applyPlugin, deletePlugin, findPlugin } from '../rules/plugins.ts';
import type { ApiContext, ProgramsAtHand } from './context.ts';
import { answer, type Routes } from './routes.ts';
import { pluginView } from './views.ts';

type Params = { name: string };

export function pluginRoutes(routes: Routes, { store, programs }: ApiContext): void {
  routes.get('/resource-plugins', async () => store.list('plugin').map(p => pluginView(store, p)));

  routes.get<Params>('/resource-plugins/:name', async ({ params }) => {
    const plugin = findPlugin(store, params.name);
    if (plugin === undefined)
      throw new OffshootError('api/not-found', { kind: 'resourceplugin', name: params.name });
    return pluginView(store, plugin);
  });

  routes.put<Params>('/resource-plugins/:name', async request => {
    const plugin = checkResourcePlugin(request.body ?? null);
    const same = canonicalPluginName(plugin.name);
    const path = canonicalPluginName(request.params.name);
    if (same.bare !== path.bare || same.version !== path.version) {
      throw new OffshootError('api/bad-request', {
        why: `the document is named "${plugin.name}", the path "${request.params.name}"`,
      });
    }
    await checkPaths(plugin, programs.stepPathProblem);
    const { name, outcome } = await applyPlugin(store, plugin);
    return answer(outcome === 'created' ? 201 : 200, {
      ...pluginView(store, store.get('plugin', name)!),
      outcome,
    });
  });

  routes.delete<Params>('/resource-plugins/:name', async ({ params }) => ({
    name: await deletePlugin(store, params.name),
  }));
}

// --- internal -----------------------------------------------------------------------------------

/** What this machine cannot give a script is known before the script has run. @throws OffshootError document/not-supported */
async function checkPaths(
  { name, spec }: ResourcePlugin,
  problemOf: ProgramsAtHand['stepPathProblem'],
): Promise<void> {
  const file = `the resource plugin "${name}"`;
  const problems: Problem[] = [];
  const check = async (path: Path, value: string | undefined): Promise<void> => {
    const why = value === undefined ? undefined : await problemOf(value);
    if (why !== undefined)
      problems.push(
        toProblem(file, { path, message: `a script cannot have the file ${value} here: ${why}` }),
      );
  };
  for (const workflow of ['create', 'delete'] as const)
    for (const [i, { script, inputs = [], outputs = [] }] of (spec[workflow] ?? []).entries()) {
      if (script === undefined) continue;
      const at = ['spec', workflow, i];
      for (const [j, { as }] of inputs.entries()) await check([...at, 'inputs', j, 'as', 'path'], as?.path);
      for (const [j, { valueFromPath }] of outputs.entries())
        await check([...at, 'outputs', j, 'valueFromPath'], valueFromPath);
    }
  if (problems.length > 0) throw documentError('document/not-supported', file, problems);
}
