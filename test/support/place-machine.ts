/** One machine as a place of the tests in `test/both`. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { http } from '../../scripts/demo/http.ts';
import { root, testDaemon } from './daemon.ts';
import { echo, ownTable, type Place, program } from './place.ts';
import { tempDir } from './temp.ts';

const namespace = 'demo';
const image = 'acme/echo:1';

export async function machinePlace(): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const daemon = stack.use(await testDaemon({ env: { OFFSHOOT_VOLUMES: 'copy' } }));
  const { path } = stack.use(await tempDir());
  await writeFile(join(path, 'echo.cjs'), program);
  const images = { [image]: { dir: '.', command: ['node', 'echo.cjs'] } };
  await writeFile(join(path, 'offshoot.yaml'), JSON.stringify({ images }));
  const { cli } = daemon;
  const run = async (args: readonly string[], input?: string): Promise<string> => {
    const { code, stdout, stderr } = await cli(args, { cwd: path, ...(input !== undefined && { input }) });
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  // The baseline's own database is the default project here, which no sandbox of the tests knows of.
  await run(['sql', 'main', '-c', ownTable]);
  const own = await run(['branch', 'url', 'main']);
  const manifests = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    ...echo(namespace, { image }, join(root, 'node_modules/pg'), own),
  ];
  await run(['deploy', '-f', '-'], manifests.map(manifest => JSON.stringify(manifest)).join('\n---\n'));
  const url = await run(['service', 'url', 'echo', '-n', namespace]);
  const rest = stack.move();
  return {
    ...{ cli, namespace, port: 8080 },
    ask: ({ path = '/', headers = {} } = {}) => http(new URL(path, url).href, { headers }),
    askAt: ({ host, port }, path = '/') => http(`http://${host}:${port}${path}`),
    askPreview: (at, { path = '/', headers = {} } = {}) => http(new URL(path, at).href, { headers }),
    async left() {
      const processes = [...(await daemon.labelled('/sb-')), ...(await daemon.labelled('step/'))];
      const sandboxes = JSON.parse(await run(['sandbox', 'list', '-o', 'json'])) as { name: string }[];
      return [...processes, ...sandboxes.map(({ name }) => `sandbox ${name}`)];
    },
    async own() {
      const all = await daemon.client.manifests.list();
      return JSON.stringify(all.map(({ kind, name, generation }) => ({ kind, name, generation })));
    },
    async kill() {
      await daemon.kill9();
      await run(['up', '--detach']);
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}
