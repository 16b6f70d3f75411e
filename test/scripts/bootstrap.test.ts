/** The bootstrap and the ./offshoot shim, in a copy of the checkout where npm is a stand-in that counts its calls. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from '../support/temp.ts';

const root = join(import.meta.dirname, '../..');

test('sets up once, again when the lock file changes, and not when only its time does', async () => {
  await using checkout = await copyOfCheckout();
  const first = await checkout.bootstrap('script.ts', 'a', 'b c');
  assert.deepEqual(JSON.parse(first.stdout), ['a', 'b c']);
  assert.match(first.stderr, /^offshoot: installing packages .*\n$/);
  assert.deepEqual(await checkout.npmCalls(), ['ci']);

  await utimes(join(checkout.path, 'package-lock.json'), new Date(), new Date(Date.now() + 60_000));
  assert.equal((await checkout.bootstrap('script.ts')).stderr, '');
  assert.deepEqual(await checkout.npmCalls(), ['ci']);

  await writeFile(join(checkout.path, 'package-lock.json'), '{"changed": true}');
  await checkout.bootstrap('script.ts');
  assert.deepEqual(await checkout.npmCalls(), ['ci', 'ci']);
});

test('several at once set up once', async () => {
  await using checkout = await copyOfCheckout();
  const runs = await Promise.all([1, 2, 3].map(n => checkout.bootstrap('script.ts', String(n))));
  assert.deepEqual(
    runs.map(run => run.stdout),
    ['["1"]', '["2"]', '["3"]'],
  );
  assert.deepEqual(await checkout.npmCalls(), ['ci']);
  assert.deepEqual(
    (await readdir(join(checkout.path, '.cache'))).filter(name => name.includes('lock')),
    [],
  );
});

test('a set-up that was killed is taken over', async () => {
  await using checkout = await copyOfCheckout();
  const killed = checkout.start({ NPM_HANGS: '1' }, 'scripts/bootstrap.mjs', 'script.ts');
  await until(async () => ((await checkout.npmCalls()).length > 0 ? true : undefined), {
    what: 'npm was called',
    deadlineMs: 10_000,
  });
  // Both, as when the machine goes down: npm is in the group of the set-up.
  process.kill(-killed.pid!, 'SIGKILL');
  await once(killed, 'close');
  assert.equal((await checkout.bootstrap('script.ts')).stdout, '[]');
  assert.deepEqual(await checkout.npmCalls(), ['ci', 'ci']);
});

test('says in one sentence that npm failed, after its own words', async () => {
  await using checkout = await copyOfCheckout();
  const { code, stderr } = await checkout.run({ NPM_FAILS: '1' }, 'scripts/bootstrap.mjs', 'script.ts');
  assert.equal(code, 1);
  assert.match(
    stderr,
    /the registry is asleep\noffshoot: npm ci failed in .*: mend what npm says above, then repeat\n$/,
  );
});

test('ends as its script ends', async () => {
  await using checkout = await copyOfCheckout();
  await writeFile(join(checkout.path, 'exit.ts'), 'process.exit(7);');
  assert.equal((await checkout.bootstrap('exit.ts')).code, 7);

  await writeFile(join(checkout.path, 'die.ts'), `process.kill(process.pid, 'SIGKILL');`);
  assert.equal((await checkout.bootstrap('die.ts')).signal, 'SIGKILL');

  await writeFile(
    join(checkout.path, 'wait.ts'),
    `process.on('SIGTERM', () => process.exit(3)); setInterval(() => {}, 1000); console.log('waiting');`,
  );
  const waiting = checkout.start({}, 'scripts/bootstrap.mjs', 'wait.ts');
  await once(waiting.stdout!, 'data');
  waiting.kill('SIGTERM');
  assert.deepEqual(await once(waiting, 'close'), [3, null]);
});

test('./offshoot sets up when needed and runs the command line, also through links', async () => {
  await using checkout = await copyOfCheckout();
  const link = join(checkout.path, 'link to offshoot');
  await symlink('offshoot', link);
  const runs = [
    await checkout.runProgram(link, 'status', '-o json'),
    await checkout.runProgram(link, 'status'),
  ];
  assert.deepEqual(
    runs.map(run => run.stdout),
    ['["status","-o json"]', '["status"]'],
  );
  assert.deepEqual(await checkout.npmCalls(), ['ci']);
});

type Ended = {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
};

async function copyOfCheckout() {
  const dir = await tempDir();
  const at = (path: string) => join(dir.path, path);
  for (const path of ['scripts/bootstrap.mjs', 'scripts/bootstrap', 'offshoot'])
    await cp(join(root, path), at(path), { recursive: true });
  await mkdir(at('src/cli'), { recursive: true });
  for (const path of ['script.ts', 'src/cli/main.ts'])
    await writeFile(
      at(path),
      'process.stdout.write(JSON.stringify(process.argv.slice(2) as readonly string[]));',
    );
  await writeFile(at('package.json'), '{"type": "module"}');
  await writeFile(at('package-lock.json'), '{}');
  await writeFile(at('npm-cli.js'), npmStandIn);
  await writeFile(at('npm-calls'), '');

  const env = {
    // The shim starts `node`, which must be new enough to need no Node from npm.
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: dir.path,
    npm_execpath: at('npm-cli.js'),
    OFFSHOOT_NO_INSTALL: '1',
  };
  const spawned: ChildProcess[] = [];
  const start = (more: Readonly<Record<string, string>>, ...args: readonly string[]) => {
    // A group of its own, so that what a test kills or forgets takes npm's stand-in with it.
    const child = spawn(process.execPath, args, { cwd: dir.path, env: { ...env, ...more }, detached: true });
    spawned.push(child);
    return child;
  };
  const run = (more: Readonly<Record<string, string>>, ...args: readonly string[]) =>
    collect(start(more, ...args));
  return {
    path: dir.path,
    start,
    run,
    bootstrap: (...args: readonly string[]) => run({}, 'scripts/bootstrap.mjs', ...args),
    runProgram: (program: string, ...args: readonly string[]) => collect(spawn(program, args, { env })),
    npmCalls: async () => (await readFile(at('npm-calls'), 'utf8')).split('\n').filter(line => line !== ''),
    async [Symbol.asyncDispose]() {
      for (const child of spawned)
        if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, 'SIGKILL');
      await dir[Symbol.asyncDispose]();
    },
  };
}

/** Does what bootstrap expects of `npm ci`: node_modules is there afterwards. */
const npmStandIn = `
import { appendFileSync, mkdirSync } from 'node:fs';
appendFileSync('npm-calls', process.argv[2] + '\\n');
mkdirSync('node_modules', { recursive: true });
if (process.env.NPM_FAILS) {
  console.error('the registry is asleep');
  process.exit(1);
}
if (process.env.NPM_HANGS) setInterval(() => {}, 1000);
`;

async function collect(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', chunk => {
    stdout += chunk;
  });
  child.stderr!.on('data', chunk => {
    stderr += chunk;
  });
  const [code, signal] = await once(child, 'close');
  return { code, signal, stdout, stderr };
}
