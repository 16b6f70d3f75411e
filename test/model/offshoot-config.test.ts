import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { it } from 'node:test';
import { formatProblem, type Problem } from '../../src/model/document/problem.ts';
import { readDocument } from '../../src/model/document/yaml.ts';
import type { OffshootError } from '../../src/model/errors.ts';
import type { ImageMap } from '../../src/model/image.ts';
import { findImage, imageKeyFor, parseOffshootConfig } from '../../src/model/offshoot-config.ts';

const parse = (images: unknown) => parseOffshootConfig({ images }, '/project/offshoot.yaml').images;
const entry = { dir: 'pkg', command: ['node', 'app.ts'] };

it('counts folders from the file', () => {
  assert.deepEqual(
    parse({ users: { ...entry, args: ['x'], env: { A: 'b' } }, other: { ...entry, dir: '/o' } }),
    {
      users: { dir: '/project/pkg', command: ['node', 'app.ts'], args: ['x'], env: { A: 'b' } },
      other: { dir: '/o', command: ['node', 'app.ts'] },
    },
  );
  assert.deepEqual(parseOffshootConfig(null, 'offshoot.yaml'), { images: {} });
});

it('reads how a folder brings a database up to date', () => {
  const migrate = (value: unknown) =>
    parseOffshootConfig({ migrate: value }, '/project/offshoot.yaml').migrate;
  assert.deepEqual(migrate({ command: 'npx knex migrate:latest' }), {
    dir: '/project',
    command: ['sh', '-c', 'npx knex migrate:latest'],
  });
  const all = { dir: 'pkg', command: ['alembic', 'upgrade', 'head'], runtime: 'python', timeout: '10m' };
  assert.deepEqual(
    migrate({ ...all, setup: 'pip install .', inputs: ['alembic'], project: 'shop', env: { A: 1 } }),
    {
      ...{ dir: '/project/pkg', command: all.command, runtime: { name: 'python' }, timeoutMs: 600_000 },
      ...{
        setup: { command: ['sh', '-c', 'pip install .'] },
        inputs: ['alembic'],
        project: 'shop',
        env: { A: '1' },
      },
    },
  );
  for (const bad of [
    {},
    { command: '' },
    { command: 'x', inputs: [] },
    { command: 'x', env: { 'A-B': '1' } },
  ])
    assert.throws(() => migrate(bad), { code: 'workload/config-bad' });
});

it('tells every problem at once, with its place', () => {
  assert.throws(
    () => parse({ 'no name': entry, users: { dir: '', comand: ['node'] }, 'x:{Ref}': entry }),
    (error: OffshootError) => {
      assert.equal(error.code, 'workload/config-bad');
      assert.equal(error.message, '/project/offshoot.yaml is not valid: 5 problems');
      const paths = error.problems!.map(p => (p as { path: string }).path).toSorted();
      assert.deepEqual(paths, [
        'images.users.comand',
        'images.users.command',
        'images.users.dir',
        'images["no name"]',
        'images["x:{Ref}"]',
      ]);
      return true;
    },
  );
  assert.throws(() => parseOffshootConfig({ image: {} }, 'f'), { code: 'workload/config-bad' });
});

it('takes numbers and booleans as they are written, and tells where a problem stands', () => {
  const read = (text: string) => {
    const { value, locate } = readDocument({ file: 'offshoot.yaml', text });
    return parseOffshootConfig(value, '/p/offshoot.yaml', { text, locate }).images.a;
  };
  const entry =
    'images:\n  a: {dir: ., command: [node, 8080, 1.10, 0755, True], env: {DEBUG: 1, RATE: 0.50}}\n';
  assert.deepEqual(read(entry), {
    ...{ dir: '/p', command: ['node', '8080', '1.10', '0755', 'True'] },
    env: { DEBUG: '1', RATE: '0.50' },
  });
  assert.throws(
    () => read('images:\n  a: {dir: .,\n    comand: [x], command: x}\n'),
    (error: OffshootError) => {
      assert.deepEqual((error.problems as Problem[]).map(formatProblem), [
        '/p/offshoot.yaml:3:27: images.a.command: expected a list, found a string',
        '/p/offshoot.yaml:3:5: images.a.comand: unknown field "comand" (did you mean "command"?)',
      ]);
      return true;
    },
  );
});

it('finds the most specific entry for an image', () => {
  const images = Object.fromEntries(
    ['users', 'users:{ref}', 'users:2', 'acme/users', 'ghcr.io/acme/users:{tag}', 'localhost:5000/users'].map(
      key => [key, { dir: key, command: ['x'] }],
    ),
  ) satisfies ImageMap;
  for (const [image, dir] of [
    ['users', 'users:latest'],
    ['users:2', 'users:2'],
    ['users:main', 'users:main'],
    ['docker.io/else/users:main', 'users:main'],
    ['users:2@sha256:0123', 'users:2'],
    ['quay.io/acme/users:2', 'acme/users'],
    ['ghcr.io/acme/users:pr-7', 'ghcr.io/acme/users:pr-7'],
    ['localhost:5000/users:3', 'localhost:5000/users'],
    ['superusers', undefined],
    ['users/api', undefined],
  ] as const) {
    const found = findImage(images, image)?.dir.replace(/\{(ref|tag)\}/, 'UNFILLED');
    assert.equal(found, dir, image);
  }
});

it('puts the tag wherever the placeholder stands, and never a tag that is a path', () => {
  const images = parse({
    'users:{ref}': {
      dir: 'work/{ref}/pkg',
      command: ['node', '{ref}.ts'],
      args: ['--ref={ref}'],
      env: { REF: '{ref}', OTHER: '{other}' },
    },
  });
  assert.deepEqual(findImage(images, 'acme/users:pr-$&7'), undefined);
  assert.deepEqual(findImage(images, 'users:../../etc'), undefined);
  assert.deepEqual(findImage(images, 'users:..'), undefined);
  assert.deepEqual(findImage(images, 'acme/users:pr-7'), {
    dir: '/project/work/pr-7/pkg',
    command: ['node', 'pr-7.ts'],
    args: ['--ref=pr-7'],
    env: { REF: 'pr-7', OTHER: '{other}' },
  });
});

it('proposes the last part of the repository as key', () => {
  assert.equal(imageKeyFor('registry.example:5000/acme/users:3@sha256:01'), 'users');
});

it('reads what has to be done in a folder, in lines for a shell or words, with inputs and a deadline', () => {
  const { a, b } = parse({
    a: { ...entry, setup: 'npm ci', build: { run: ['make', 'all'], inputs: ['src'], timeout: '20m' } },
    b: { ...entry, runtime: 'python', watch: ['**', '!data'] },
  });
  assert.deepEqual(
    [a!.setup, a!.build],
    [
      { command: ['sh', '-c', 'npm ci'] },
      { command: ['make', 'all'], inputs: ['src'], timeoutMs: 1_200_000 },
    ],
  );
  assert.deepEqual([b!.runtime, b!.watch], [{ name: 'python' }, ['**', '!data']]);
  const wrong = {
    ...entry,
    watch: ['**'],
    reload: 'app',
    build: { run: 'x', timeout: '2 days' },
    runtime: '/bin',
  };
  assert.throws(
    () => parse({ a: wrong }),
    (error: OffshootError) => {
      const paths = error.problems!.map(p => (p as { path: string }).path);
      assert.ok(
        paths.some(path => path.startsWith('images.a.build')) && paths.includes('images.a.runtime'),
        String(paths),
      );
      return true;
    },
  );
  assert.throws(() => parse({ a: { ...entry, watch: ['**'], reload: 'app' } }), {
    code: 'workload/config-bad',
  });
});

it('takes a folder per tag only where there is one, else what serves any tag', () => {
  const images = parse({
    users: entry,
    'users:{ref}': { ...entry, dir: 'work/{ref}' },
    'new:{ref}': { ...entry, dir: '{ref}' },
  });
  const isThere = (folder: string) => folder === '/project/work/pr-7';
  assert.equal(findImage(images, 'users:pr-7', isThere)?.dir, '/project/work/pr-7');
  assert.equal(findImage(images, 'users:1.4', isThere)?.dir, '/project/pkg');
  assert.equal(findImage(images, 'users', isThere)?.dir, '/project/pkg');
  assert.equal(
    findImage(images, 'new:1', isThere)?.dir,
    '/project/1',
    'no other: it says which folder is missing',
  );
});

it('runs any tag by the sample of the documentation, as it is written', async () => {
  const page = await readFile(new URL('../../docs/images.md', import.meta.url), 'utf8');
  const [, sample = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const { images } = parseOffshootConfig(
    readDocument({ file: 'x', text: sample }).value,
    '/shop/offshoot.yaml',
  );
  const isThere = (folder: string) => folder === '/worktrees/pr-7';
  const dirOf = (image: string) => findImage(images, image, isThere)?.dir;
  for (const image of ['users-service', 'users-service:1.0', 'ghcr.io/acme/users-service:latest'])
    assert.equal(dirOf(image), '/shop/pkg/users-service');
  assert.equal(dirOf('users-service:pr-7'), '/worktrees/pr-7');
  assert.deepEqual([dirOf('acme/worker:v2'), dirOf('acme/worker:v3')], ['/shop/pkg/worker', undefined]);
});
