/**
 * Many sandboxes on one daemon: each a fork of the smallest web server that there is (it sleeps until it is asked, and
 * answers with the name of its sandbox), with a database branch of its own when asked for.
 */
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { http } from '../../scripts/demo/http.ts';
import type { Client } from '../../src/client/index.ts';
import type { Sandbox } from '../../src/model/sandbox.ts';
import type { BranchView, SandboxView } from '../../src/model/view.ts';
import { root } from './daemon.ts';

export type CrowdHome = {
  readonly client: Client;
  cli(
    args: readonly string[],
    options?: { readonly cwd?: string },
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
};

/** Sandboxes and branches that are made at once; more would only wait for the two or more cores. */
const atOnce = 8;
const deadlineMs = 120_000;

/** Deploys what the sandboxes fork, and the plugin of their branches. @returns an API key for their previews */
export async function deployEcho({ cli }: CrowdHome): Promise<string> {
  const run = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await cli(args, { cwd: echoFolder });
    assert.equal(code, 0, `offshoot ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  await run('branch', 'wait', 'main');
  await run('deploy', '-f', 'echo.yaml');
  await run('resourceplugin', 'apply', '-f', branchPlugin);
  return await run('key', 'create', 'crowd');
}

/** @param branch whether it has a database branch of its own */
export const echoSandbox = (name: string, { branch }: { readonly branch: boolean }): Sandbox => ({
  name,
  spec: {
    cluster: 'local',
    ...(branch && {
      resources: [{ name: 'db', plugin: 'xata-branch', params: { 'parent-branch': 'main' } }],
    }),
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: 'crowd', name: 'echo' },
        customizations: {
          env: [
            { name: 'ECHO', value: name },
            ...(branch
              ? [
                  {
                    name: 'DATABASE_URL',
                    valueFrom: { resource: { name: 'db', outputKey: 'provision.connection-string' } },
                  },
                ]
              : []),
          ],
        },
      },
    ],
    endpoints: [{ name: 'web', host: 'echo.crowd.svc', port: 80, protocol: 'http' }],
  },
});

/** Applies one sandbox. Returns when it is ready. @throws AssertionError when it fails */
export async function applyEcho(
  { client }: CrowdHome,
  name: string,
  options: { readonly branch: boolean },
): Promise<SandboxView> {
  await client.sandboxes.apply(echoSandbox(name, options));
  return await follow<SandboxView, SandboxView>(client, { kind: 'sandbox', name }, view => {
    assert.notEqual(view?.status.failed, true, `${name}: ${view?.status.message}`);
    return view?.status.ready ? view : undefined;
  });
}

/** Returns when nothing is left of it. */
export async function deleteEcho({ client }: CrowdHome, name: string): Promise<void> {
  await client.sandboxes.delete(name);
  await follow(client, { kind: 'sandbox', name }, view => (view === undefined ? true : undefined));
}

/** @throws AssertionError when anybody but the fork of this sandbox answers at its preview */
export async function askEcho({ endpoints: [endpoint], name }: SandboxView, key: string): Promise<void> {
  const { status, body } = await http(endpoint!.url, { headers: { 'signadot-api-key': key } });
  assert.deepEqual([status, body], [200, name]);
}

/** Sandboxes `resident-<from>` … `resident-<to - 1>`. Returns when all are ready. */
export const settle = (
  home: CrowdHome,
  { from = 0, to, branch }: { readonly from?: number; readonly to: number; readonly branch: boolean },
): Promise<void> => each(from, to, i => applyEcho(home, `resident-${i}`, { branch }));

/** Branches `hand-<from>` … of `main` in project `default`, which nobody owns. Returns when all are ready. */
export const growBranches = (
  { client }: CrowdHome,
  { from = 0, to }: { readonly from?: number; readonly to: number },
): Promise<void> =>
  each(from, to, async i => {
    const { id } = await client.branches.create('default', { name: `hand-${i}` });
    await follow<BranchView, true>(client, { kind: 'branch', name: id }, view =>
      view?.state === 'ready' ? true : undefined,
    );
  });

// --- internal ------------------------------------------------------------------------------------

const echoFolder = fileURLToPath(new URL('echo', import.meta.url));
const branchPlugin = `${root}examples/users-service/signadot/xata-branch-plugin.uses.yaml`;

async function each(from: number, to: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = from;
  const worker = async () => {
    while (next < to) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/**
 * Watches one object until `probe` finds something in it; it is undefined while the object does not exist.
 * @throws Error with what was seen last, after two minutes
 */
async function follow<V, T>(
  client: Client,
  filter: { readonly kind: string; readonly name: string },
  probe: (view: V | undefined) => T | undefined,
): Promise<T> {
  let view: V | undefined;
  let synced = false;
  const deadline = AbortSignal.timeout(deadlineMs);
  try {
    for await (const change of client.watch<V>(filter, deadline)) {
      if (change.type === 'put') view = change.object;
      if (change.type === 'gone') view = undefined;
      if (change.type === 'reset') synced = false;
      if (change.type === 'synced') synced = true;
      const found = synced ? probe(view) : undefined;
      if (found !== undefined) return found;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
  }
  throw new Error(`${filter.kind} ${filter.name} after ${deadlineMs / 1000} s: ${JSON.stringify(view)}`);
}
