/** The bootstrap and the ./offshoot shim, in a copy of the checkout where npm is a stand-in that counts its calls. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
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
    deadlineMs: 60_000,
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

test('./offshoot runs a bundle, and never one that was made of something else', async () => {
  await using checkout = await copyOfCheckout({ bundles: true });
  const main = 'src/cli/main.ts';
  const says = (what: string) => `${what}; process.stdout.write(String(process.argv[1]));`;
  const run = async () => {
    const { stdout, stderr } = await checkout.runProgram(checkout.at('offshoot'));
    const ran = stdout.replace(`${checkout.path}/`, '').replace(/[0-9a-f]{16}/, 'NAME');
    return { said: stderr, ran };
  };
  const bundle = '.cache/bundle/NAME/main.cjs';
  await checkout.bootstrap('script.ts');
  await checkout.write(main, says("console.error('one')"));
  assert.deepEqual(await run(), { said: 'one\n', ran: bundle });
  const first = await checkout.current();
  assert.deepEqual(await run(), { said: 'one\n', ran: bundle });
  assert.equal(await checkout.current(), first);

  // What copies and unpacks files sets this time back.
  await checkout.write(main, says("console.error('two')"));
  await utimes(checkout.at(main), new Date(0), new Date(0));
  assert.deepEqual(await run(), { said: 'two\n', ran: bundle });
  assert.notEqual(await checkout.current(), first);

  await checkout.write('src/cli/part.ts', "console.error('part');");
  await checkout.write(main, says("import './part.ts'"));
  assert.deepEqual(await run(), { said: 'part\n', ran: bundle });
  await rename(checkout.at('src/cli/part.ts'), checkout.at('src/cli/gone.ts'));
  const { said, ran } = await run();
  assert.match(said, /^offshoot: the programs could not be bundled.*part\.ts.*Cannot find module/s);
  assert.equal(ran, '');

  await checkout.write(main, says("console.error('one')"));
  await rm(checkout.at('src/cli/gone.ts'));
  assert.deepEqual(await run(), { said: 'one\n', ran: bundle });
  assert.equal(await checkout.current(), first, 'the one that there was is taken again');
});

test('./offshoot runs from the sources where there is no bundle, and says why when there could be one', async () => {
  await using checkout = await copyOfCheckout({ bundles: true });
  const main = 'src/cli/main.ts';
  await checkout.write(
    main,
    "process.stdout.write(String(process.argv[1])); import('./part.ts').catch(() => {});",
  );
  await checkout.write('src/cli/part.ts', 'const = ;');
  const broken = await checkout.runProgram(checkout.at('offshoot'));
  assert.equal(broken.stdout, checkout.at(main));
  assert.match(broken.stderr, /could not be bundled, and start slower.*part\.ts:1:7/s);
  const again = await checkout.runProgram(checkout.at('offshoot'));
  assert.deepEqual([again.stdout, again.stderr], [checkout.at(main), ''], 'it is said once for each change');

  await checkout.write('src/cli/part.ts', '');
  await rm(checkout.at('.cache/bundle'), { recursive: true });
  // Here nothing can be written.
  await checkout.write('.cache/bundle', '');
  const unwritable = await checkout.runProgram(checkout.at('offshoot'));
  assert.deepEqual([unwritable.stdout, unwritable.stderr], [checkout.at(main), '']);
});

test('a stack names lines of the sources, also when a bundle runs', async () => {
  await using checkout = await copyOfCheckout({ bundles: true });
  for (const path of ['src/lib/checkout.ts', 'src/lib/source-lines.ts']) {
    await mkdir(dirname(checkout.at(path)), { recursive: true });
    await cp(join(root, path), checkout.at(path));
  }
  const source = `
import { root } from '../lib/checkout.ts';
import { nameSourceLines } from '../lib/source-lines.ts';
type Long = {
  readonly a: string;
};
nameSourceLines();
function fails(_: Long) {
  throw new TypeError(root);
}
try {
  fails({ a: '' });
} catch (error) {
  console.log(process.argv[1], (error as Error).stack);
}`;
  await checkout.write('src/cli/main.ts', source);
  const lines = source.split('\n');
  const lineOf = (text: string) => lines.findIndex(line => line.includes(text)) + 1;
  const { stdout } = await checkout.runProgram(checkout.at('offshoot'));
  const [head, ...sites] = stdout.split('\n');
  assert.match(head!, new RegExp(`bundle/\\w+/main\\.cjs TypeError: ${checkout.path}$`));
  assert.equal(sites[0], `    at fails (${checkout.at('src/cli/main.ts')}:${lineOf('throw')}:9)`);
  assert.match(sites[1]!, new RegExp(`${checkout.at('src/cli/main.ts')}:${lineOf('fails({')}:`));
});

test('every program that is started by its path is bundled', async () => {
  const rolled = await readFile(join(root, 'scripts/bootstrap/roll.mjs'), 'utf8');
  const known = await readFile(join(root, 'src/lib/checkout.ts'), 'utf8');
  const namesIn = (text: string) => [...text.matchAll(/'([a-z/-]+)'/g)].map(match => match[1]);
  // Further ones are started in an image, by image/offshoot.
  const list = namesIn(/const programs = \[(.*?)\]/s.exec(rolled)![1]!);
  const ours = namesIn(/type Program =(.*?);/s.exec(known)![1]!);
  assert.ok(ours.length > 3);
  assert.deepEqual(
    ours.filter(name => !list.includes(name)),
    [],
  );
});

type Ended = {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** @param o.bundles otherwise there is no place for a bundle, which would take each of these tests a second more */
async function copyOfCheckout({ bundles = false } = {}) {
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
  await mkdir(at('.cache'));
  if (!bundles) await writeFile(at('.cache/bundle'), '');

  const env = {
    // The shim starts `node`, which must be new enough to need no Node from npm.
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    HOME: dir.path,
    npm_execpath: at('npm-cli.js'),
    OFFSHOOT_NO_INSTALL: '1',
    ROLLDOWN: join(root, 'node_modules/rolldown'),
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
    at,
    async write(path: string, text: string) {
      await writeFile(at(path), text);
    },
    current: () => readFile(at('.cache/bundle/current'), 'utf8'),
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
import { appendFileSync, mkdirSync, symlinkSync } from 'node:fs';
appendFileSync('npm-calls', process.argv[2] + '\\n');
mkdirSync('node_modules', { recursive: true });
try {
  symlinkSync(process.env.ROLLDOWN, 'node_modules/rolldown');
} catch {} // it is there
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
