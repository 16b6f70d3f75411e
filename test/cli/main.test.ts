/** From arguments to a command, and from an error to sentences and an exit code. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorTable } from '../../src/model/errors.ts';
import { type TestApi, testApi } from '../support/api.ts';
import { runCli } from '../support/cli.ts';
import { turns } from '../support/http.ts';
import { tempDir } from '../support/temp.ts';

const envOf = (api: TestApi) => ({ OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey });

test('the version is that of the package', async () => {
  const text = await readFile(join(import.meta.dirname, '../../package.json'), 'utf8');
  const { version } = JSON.parse(text) as { version: string };
  const { code, stdout } = await runCli(['--version']);
  assert.deepEqual([code, stdout], [0, `${version}\n`]);
});

test('what is not a command or an option: exit 2, with a suggestion', async () => {
  const refused = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCli(args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    return stderr;
  };
  assert.equal(await refused('brnch'), "error: unknown command 'brnch'\n(Did you mean branch?)\n");
  assert.equal(
    await refused('branch', 'creat', 'x'),
    "error: unknown command 'creat'\n(Did you mean create?)\n",
  );
  assert.equal(
    await refused('branch', 'list', '--outptu', 'json'),
    "error: unknown option '--outptu'\n(Did you mean --output?)\n",
  );
  assert.match(await refused('branch', 'create'), /missing required argument 'name'/);
  assert.match(await refused('branch', 'get', 'a', 'b'), /too many arguments/);
  assert.match(await refused('sandbox', 'apply'), /required option '-f, --filename <file>' not specified/);
  assert.match(await refused('deploy'), /name a file or folder with -f/);
  assert.match(await refused('branch', 'list', '-o', 'xml'), /--output takes json, yaml or text, not "xml"/);
  assert.match(await refused('branch', 'wait', '--wait-timeout', 'soon'), /"soon" is not a duration/);
  assert.match(await refused('sql', '-c', 'select 1', '-f', 'x.sql'), /cannot be used with/);
  assert.match(await refused('sql', 'select 1'), /SQL goes behind -c/);
  assert.match(await refused('sandbox', 'delete'), /name the sandbox, or a file with -f/);
});

test('exit codes are those of the error table', async t => {
  await using api = await testApi();
  const env = envOf(api);
  const codeOf = async (args: readonly string[], more: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await runCli(args, { env: { ...env, ...more } });
    assert.equal(stdout, '', args.join(' '));
    return [code, stderr.split('\n')[0]];
  };
  assert.equal((await runCli(['branch', 'list'], { env })).code, 0);
  assert.deepEqual(await codeOf(['branch', 'delete', 'main']), [
    1,
    'error: branch "main" is the root of project "default"',
  ]);
  assert.deepEqual(await codeOf(['branch', 'create', 'A b']), [
    2,
    'error: "A b" is not a valid branch name: it contains " ", as no branch of git does',
  ]);
  assert.deepEqual(await codeOf(['sandbox', 'get', 'nix']), [3, 'error: sandbox "nix" does not exist']);
  assert.deepEqual(await codeOf(['sandbox', 'list'], { OFFSHOOT_API_KEY: 'ofs_wrong' }), [
    4,
    'error: the API needs a valid API key: this one is not known',
  ]);
  // The time is over when there was something to be seen, however long that takes.
  const over = new AbortController();
  t.mock.method(AbortSignal, 'timeout', () => over.signal, { times: 1 });
  const { onChange } = api.store;
  api.store.onChange = listener => {
    void turns().then(() => over.abort(new DOMException('it is over', 'TimeoutError')));
    return onChange.call(api.store, listener);
  };
  assert.deepEqual(await codeOf(['branch', 'wait', 'main', '--wait-timeout', '900ms']), [
    5,
    'error: timed out after 900 ms waiting for branch main to be ready; last seen: being created',
  ]);
});

test('an error has its hint; with -o json it is an object', async () => {
  await using api = await testApi();
  const env = envOf(api);
  const text = await runCli(['branch', 'get', 'nix'], { env });
  assert.equal(text.stderr, 'error: branch "nix" does not exist\nhint: see "offshoot branch list"\n');
  for (const args of [['-o', 'json'], ['-ojson'], ['--output=json']]) {
    const json = await runCli(['branch', 'get', 'nix', ...args], { env });
    assert.deepEqual(JSON.parse(json.stderr), {
      code: 'api/not-found',
      error: 'branch "nix" does not exist',
      hint: 'see "offshoot branch list"',
    });
  }
  const sql = await runCli(['sql', 'nix', '-c', `select '-o json'`], { env });
  assert.match(sql.stderr, /^error: branch "nix"/);
});

test('a number of branches that is none is refused before anybody is asked', async () => {
  const { code, stderr } = await runCli(['project', 'limit', 'shop', '--max-branches', 'many']);
  const { say, hint } = errorTable['project/bad-limit'];
  const told = `error: ${say({ limit: 'many' })}\nhint: ${hint()}\n`;
  assert.deepEqual([code, stderr], [2, told]);
  assert.match(told, /^error: a project cannot have "many" branches at most$/m);
});

test('problems of a document are listed with their places', async () => {
  await using dir = await tempDir();
  await using api = await testApi();
  const input = 'name: x\nspec:\n  clusters: local\n';
  const args = ['sandbox', 'apply', '-f', '-'];
  const { code, stderr } = await runCli(args, { env: envOf(api), cwd: dir.path, input });
  assert.equal(code, 2);
  assert.match(stderr, /^<stdin>:3:3: .*\(did you mean "cluster"\?\)$/m);
  assert.match(stderr, /^error: <stdin> is not valid: \d problems?$/m);
});

test('a branch that failed: the reason, and what to do', async () => {
  await using api = await testApi();
  const { branches } = api.client;
  const { id } = await branches.create('default', { name: 'fix' });
  api.store.modify('branch', id, () => ({
    status: {
      state: 'failed',
      reason: 'NoSpace',
      message: 'the disk is full',
      hint: 'make room',
      conditions: [],
      observedGeneration: 1,
    },
  }));
  const { code, stderr } = await runCli(['branch', 'wait', 'fix'], { env: envOf(api) });
  assert.deepEqual(
    [code, stderr],
    [1, 'error: branch "fix" could not be made ready: the disk is full\nhint: make room\n'],
  );
});

test('Ctrl-C while it waits: exit 130', async () => {
  await using api = await testApi();
  const stop = new AbortController();
  api.store.onChange(() => stop.abort(new Error('SIGINT')));
  const run = runCli(['branch', 'create', 'fix'], { env: envOf(api), signal: stop.signal });
  const { code, stdout, stderr } = await run;
  assert.deepEqual([code, stdout], [130, '']);
  assert.equal(stderr, 'interrupted; what was asked for goes on in the daemon\n');
  assert.equal((await api.client.branches.get('default', 'fix')).name, 'fix');
});
