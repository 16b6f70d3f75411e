/** The example's baseline on a test daemon: database with five users, deployment, service, plugin. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { RunCli } from '../../scripts/demo/cli.ts';
import { http } from '../../scripts/demo/http.ts';
import { secretManifest } from '../../scripts/demo/tutorial.ts';
import { root } from './daemon.ts';

export const example = join(root, 'examples', 'users-service');

export type Baseline = {
  readonly url: string;
  readonly key: string;
};

/** @throws AssertionError with what the command said */
export async function deployBaseline(cli: RunCli): Promise<Baseline> {
  const run = async (args: readonly string[], input?: string) => {
    const result = await cli(args, { cwd: example, ...(input !== undefined && { input }) });
    assert.equal(result.code, 0, `offshoot ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  };
  await run(['branch', 'wait', 'main']);
  await run(['sql', 'main', '-f', 'db/schema.sql']);
  await run(['sql', 'main', '-f', 'db/seed.sql']);
  await run(['deploy', '-f', '-', '--no-wait'], secretManifest(await run(['branch', 'url', 'main'])));
  await run(['deploy', '-f', 'k8s']);
  await run(['resourceplugin', 'apply', '-f', 'signadot/xata-branch-plugin.uses.yaml']);
  const key = await run(['key', 'create', 'test']);
  return { key, url: await run(['service', 'url', 'users-service', '-n', 'demo']) };
}

/** A sandbox document of the example's shape. */
export const sandboxDocument = (name: string, change: object = {}): string =>
  JSON.stringify({
    name,
    spec: {
      cluster: 'local',
      resources: [{ name: 'usersDb', plugin: 'xata-branch', params: { 'parent-branch': 'main' } }],
      forks: [
        {
          forkOf: { kind: 'Deployment', namespace: 'demo', name: 'users-service' },
          customizations: {
            env: [
              {
                name: 'DATABASE_URL',
                valueFrom: { resource: { name: 'usersDb', outputKey: 'provision.connection-string' } },
              },
            ],
          },
        },
      ],
      endpoints: [{ name: 'users-api', host: 'users-service.demo.svc', port: 3000, protocol: 'http' }],
      ...change,
    },
  });

/** Names of the users that a URL shows. */
export async function users(url: string, headers: Record<string, string> = {}): Promise<readonly string[]> {
  const answer = await http(`${url}/users`, { headers });
  assert.equal(answer.status, 200, answer.body);
  return (answer.json() as { name: string }[]).map(u => u.name);
}

export async function addUser(
  url: string,
  name: string,
  headers: Record<string, string> = {},
): Promise<void> {
  const body = { name, email: `${name.toLowerCase()}@test.com` };
  const answer = await http(`${url}/users`, { method: 'POST', headers, body });
  assert.equal(answer.status, 201, answer.body);
}
