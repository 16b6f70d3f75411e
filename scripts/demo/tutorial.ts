/** The tutorial as a list of measured steps; each checks what a reader of it would see. */
import { join } from 'node:path';
import { type CliResult, cliRunner, type RunCli } from './cli.ts';
import { http } from './http.ts';

export type Step = {
  readonly name: string;
  readonly ms: number;
  readonly ok: boolean;
  readonly result: string;
};

export type Tutorial = {
  /** Of the checkout. */
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onStep: (step: Step) => void;
  /** Which form of the plugin; default the built-in action. */
  readonly plugin?: 'uses' | 'script';
};

export type Played = {
  readonly urls: { readonly preview: string; readonly baseline: string };
  readonly key: string;
  /** The tutorial's last part: deletes the sandbox and looks that it is gone. */
  finish(): Promise<void>;
};

type User = { readonly name: string };
type BranchRow = { readonly name: string; readonly id: string };

/** @throws Error at the first step that does not give what it should */
export async function playTutorial({
  root,
  env,
  signal,
  onStep,
  plugin = 'uses',
}: Tutorial): Promise<Played> {
  const example = join(root, 'examples', 'users-service');
  const cli = strict(cliRunner(root, env, example));
  const step = async <T>(name: string, body: () => Promise<[T, string]>): Promise<T> => {
    // The last part is the way out: it is walked also when somebody has had enough.
    if (!finishing) signal.throwIfAborted();
    const started = performance.now();
    try {
      const [value, result] = await body();
      onStep({ name, ms: performance.now() - started, ok: true, result });
      return value;
    } catch (error) {
      onStep({ name, ms: performance.now() - started, ok: false, result: (error as Error).message });
      throw error;
    }
  };
  let finishing = false;
  const branches = async () =>
    JSON.parse((await cli(['branch', 'list', '-o', 'json'])).stdout) as BranchRow[];
  const expectBranches = (when: string, expected: readonly string[]) =>
    step(`branch list ${when}`, async () => {
      const names = (await branches()).map(b => b.name);
      same(names, expected, 'branches');
      return [undefined, names.join(', ')];
    });
  const usersIn = async (url: string, headers: Record<string, string> = {}) => {
    const answer = await http(`${url}/users`, { headers });
    if (answer.status !== 200) throw new Error(`GET ${url}/users answered ${answer.status}: ${answer.body}`);
    return answer.json() as readonly User[];
  };
  const countIn = async (branch: string) => {
    const { stdout } = await cli(['sql', branch, '-c', 'select count(*)::int as n from users', '-o', 'json']);
    return (JSON.parse(stdout) as { rows: [{ n: number }] }).rows[0].n;
  };

  await step('daemon up', async () => {
    await cli(['up', '--detach']);
    const status = JSON.parse((await cli(['status', '-o', 'json'])).stdout) as {
      daemon: { volumes: { driver: string; why: string } };
    };
    return [undefined, `volumes: ${status.daemon.volumes.driver}`];
  });
  await step('database schema and five users', async () => {
    await cli(['branch', 'wait', 'main']);
    await cli(['sql', 'main', '-f', 'db/schema.sql']);
    await cli(['sql', 'main', '-f', 'db/seed.sql']);
    const count = await countIn('main');
    same(count, 5, 'users in main');
    return [undefined, `${count} users in main`];
  });
  const baseline = await step('baseline deployed', async () => {
    const url = (await cli(['branch', 'url', 'main'])).stdout.trim();
    await cli(['deploy', '-f', '-', '--no-wait'], { input: secretManifest(url) });
    await cli(['deploy', '-f', 'k8s']);
    const service = (await cli(['service', 'url', 'users-service', '-n', 'demo'])).stdout.trim();
    return [service, service];
  });
  await step('baseline answers', async () => {
    const users = await usersIn(baseline);
    same(users.length, 5, 'users of the baseline');
    const info = (await http(`${baseline}/info`)).json() as { branch: string };
    same(info.branch, 'main', 'branch of the baseline');
    return [undefined, `${users.length} users, connected to ${info.branch}`];
  });
  await step('resource plugin installed', async () => {
    const file = plugin === 'uses' ? 'xata-branch-plugin.uses.yaml' : 'xata-branch-plugin.yaml';
    await cli(['resourceplugin', 'apply', '-f', join('signadot', file)]);
    return [undefined, `xata-branch (${plugin})`];
  });
  await expectBranches('before', ['main']);
  const key = await step('API key', async () => {
    const made = (await cli(['key', 'create', `demo-${process.pid}`])).stdout.trim();
    return [made, 'made'];
  });
  const preview = await step('sandbox apply → first answer of the preview', async () => {
    const { stdout } = await cli([
      'sandbox',
      'apply',
      '-f',
      'signadot/users-sandbox.yaml',
      '--set',
      'cluster=local',
      '-o',
      'json',
    ]);
    const { endpoints } = JSON.parse(stdout) as { endpoints: [{ url: string }] };
    const { url } = endpoints[0];
    const users = await usersIn(url, { 'signadot-api-key': key });
    same(users.length, 5, 'users of the sandbox');
    return [url, url];
  });
  const auth = { 'signadot-api-key': key };
  await expectBranches('during', ['main', 'sb-xata-test']);
  await step('the preview asks for the key', async () => {
    const answer = await http(`${preview}/users`);
    same(answer.status, 401, 'status without a key');
    return [undefined, '401 without it'];
  });
  await step('the sandbox is on its own branch', async () => {
    const info = (await http(`${preview}/info`, { headers: auth })).json() as {
      branch: string;
      sandbox: string;
    };
    same(info.branch, 'sb-xata-test', 'branch of the sandbox');
    same(info.sandbox, 'xata-test', 'name of the sandbox');
    return [undefined, `connected to ${info.branch}`];
  });
  await step('POST a user to the sandbox', async () => {
    const body = { name: 'Sandbox User', email: 'sandbox@test.com' };
    const answer = await http(`${preview}/users`, { method: 'POST', headers: auth, body });
    same(answer.status, 201, 'status');
    return [undefined, '201'];
  });
  await step('six users there, five in the baseline (HTTP)', async () => {
    const counts = [(await usersIn(preview, auth)).length, (await usersIn(baseline)).length];
    same(counts, [6, 5], 'users');
    return [undefined, counts.join(' and ')];
  });
  await step('six users there, five in main (SQL)', async () => {
    const counts = [await countIn('sb-xata-test'), await countIn('main')];
    same(counts, [6, 5], 'users');
    return [undefined, counts.join(' and ')];
  });

  return {
    urls: { preview, baseline },
    key,
    async finish() {
      finishing = true;
      await step('sandbox delete', async () => {
        await cli(['sandbox', 'delete', 'xata-test', '--if-exists']);
        return [undefined, 'gone'];
      });
      await expectBranches('after', ['main']);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const strict =
  (run: RunCli) =>
  async (...call: Parameters<RunCli>): Promise<CliResult> => {
    const result = await run(...call);
    if (result.code !== 0)
      throw new Error(`offshoot ${call[0].join(' ')} (exit ${result.code}): ${result.stderr.trim()}`);
    return result;
  };

function same(seen: unknown, expected: unknown, what: string): void {
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, saw ${JSON.stringify(seen)}`);
  }
}

export const secretManifest = (url: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'demo' } },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'db-creds', namespace: 'demo' },
        stringData: { url },
      },
    ],
  });
