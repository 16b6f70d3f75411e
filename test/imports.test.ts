/** The direction of the folders (CONTRIBUTING.md), who may read the environment, and who may use which package. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, posix } from 'node:path';
import { test } from 'node:test';

const src = join(import.meta.dirname, '../src');

/**
 * What each part of src/ may import, besides itself. A part is a folder or a file of src/; the longest name that
 * fits counts, so `drivers` is only what lies directly in that folder: the contract that its subfolders share.
 * `type:` allows types only, `lazy:` only `import()`.
 */
const parts: Readonly<Record<string, readonly string[]>> = {
  model: [],
  lib: [],
  // Names of our objects there, a client and informers; who lives on one machine loads none of it.
  kubernetes: ['model', 'lib'],
  store: ['model', 'lib', 'kubernetes'],
  baseline: ['model', 'lib', 'store', 'kubernetes'],
  rules: ['model', 'lib', 'store', 'type:baseline/contract.ts'],
  drivers: ['model', 'lib'],
  'drivers/processes': ['model', 'lib', 'drivers'],
  'drivers/branch': ['model', 'lib', 'drivers', 'type:drivers/processes/contract.ts'],
  'drivers/volume': ['model', 'lib', 'drivers'],
  'drivers/postgres': ['model', 'lib', 'drivers', 'type:drivers/processes/contract.ts'],
  'drivers/network': ['model', 'lib', 'drivers', 'type:drivers/processes/contract.ts'],
  'drivers/workload': [
    'model',
    'lib',
    'drivers',
    'drivers/runner-of.ts',
    'type:drivers/processes/contract.ts',
    'type:drivers/network/contract.ts',
    'drivers/engine/contract.ts',
  ],
  'drivers/engine': ['model', 'lib', 'drivers', 'type:drivers/processes/contract.ts'],
  // What an image runs by, for workloads and steps.
  'drivers/runner-of.ts': ['model', 'type:drivers/engine/contract.ts'],
  // What forks are on a cluster; who lives on one machine loads none of it.
  'drivers/cluster': ['model', 'lib', 'drivers', 'kubernetes'],
  'drivers/step': [
    'model',
    'lib',
    'drivers',
    'drivers/runner-of.ts',
    'drivers/engine/contract.ts',
    'type:drivers/processes/contract.ts',
  ],
  // Opens those of branches.
  'drivers/open-branches.ts': [
    'model',
    'lib',
    'drivers',
    'drivers/branch',
    'drivers/volume',
    'drivers/postgres',
    'type:drivers/processes/contract.ts',
  ],
  // Opens them all; only the composition root uses it.
  'drivers/open.ts': [
    'model',
    'lib',
    'drivers',
    'drivers/open-branches.ts',
    'drivers/processes',
    'drivers/engine',
    'drivers/network',
    'drivers/workload',
    'drivers/step',
  ],
  // Scripts that were written for psql, and a session that runs them.
  sql: ['model', 'lib'],
  // What an importer does; the daemon only looks at a source with it.
  data: ['model', 'lib', 'sql'],
  // A process of its own.
  'importer.ts': ['model', 'lib', 'data', 'type:drivers/branch'],
  'proxy/stream': ['model', 'lib', 'proxy'],
  proxy: ['model', 'lib', 'proxy/stream'],
  'proxy/http': ['model', 'lib', 'proxy'],
  // The door of a branch node, and the way to it.
  'proxy/branches': ['model', 'lib', 'proxy', 'type:proxy/stream/messages.ts'],
  'proxy/postgres': ['model', 'lib', 'proxy', 'proxy/branches'],
  'proxy/sql': ['model', 'lib', 'proxy/postgres'],
  'proxy/tcp': ['model', 'lib', 'proxy'],
  'proxy/udp': ['model', 'lib', 'proxy'],
  // The process of its own: it loads nothing else.
  'proxy.ts': ['lib', 'proxy', 'serving.ts'],
  'serving.ts': [
    'model',
    'lib',
    'proxy',
    'proxy/stream',
    'proxy/http',
    'proxy/postgres',
    'proxy/sql',
    'proxy/tcp',
    'proxy/udp',
    'log-output.ts',
  ],
  // Processes of their own, too.
  'sidecar.ts': ['model', 'lib', 'proxy', 'proxy/stream', 'proxy/http', 'proxy/tcp', 'log-output.ts'],
  // Beside the script of a step, in its pod.
  'collector.ts': ['model', 'lib', 'drivers/step'],
  'redirect.ts': ['model', 'lib', 'drivers/network'],
  // This one knows nothing of us.
  'outpost.ts': ['lib'],
  reconcile: ['model', 'lib', 'store', 'rules', 'type:baseline/contract.ts', 'type:drivers/contract.ts'],
  // What a cluster asks before it takes an object.
  webhook: ['model', 'lib', 'kubernetes', 'rules', 'type:baseline/contract.ts'],
  // Composition of it and of what sidecars know.
  api: ['model', 'lib', 'store', 'rules', 'type:baseline/contract.ts'],
  client: ['model', 'lib'],
  // `up` starts the daemon; `down` and `doctor` do without a running one what it would have done.
  cli: [
    'model',
    'lib',
    'sql',
    'client',
    'config.ts',
    'home.ts',
    'lazy:daemon.ts',
    'lazy:branch-node.ts',
    'lazy:pool.ts',
    'type:pool.ts',
    'lazy:controller.ts',
    'lazy:kubernetes',
    'lazy:sidecar.ts',
    'lazy:redirect.ts',
    'lazy:roles/gateway.ts',
  ],
  'config.ts': ['model', 'lib'],
  'home.ts': ['model', 'lib'],
  'remembered-ports.ts': ['lib'],
  'service-addresses.ts': ['model', 'lib', 'type:drivers/network/contract.ts', 'type:reconcile/baseline.ts'],
  'cluster-keys.ts': ['api', 'kubernetes', 'type:internal-keys.ts'],
  'internal-keys.ts': ['api', 'type:model'],
  'log-output.ts': ['lib'],
  'authority.ts': ['lib'],
  'encryption.ts': ['model', 'lib', 'config.ts', 'authority.ts'],
  'proxy-runner.ts': ['lib', 'drivers/processes', 'proxy', 'proxy/stream'],
  // The daemon's side of the data path.
  'data-path.ts': [
    'model',
    'lib',
    'store',
    'proxy',
    'proxy/stream',
    'reconcile',
    'config.ts',
    'internal-keys.ts',
    'type:authority.ts',
    'type:baseline/contract.ts',
  ],
  'daemon.ts': [
    'model',
    'lib',
    'store',
    'baseline',
    'rules',
    'drivers',
    'proxy',
    'reconcile',
    'api',
    'config.ts',
    'data-path.ts',
    'encryption.ts',
    'home.ts',
    'internal-keys.ts',
    'log-output.ts',
    'proxy-runner.ts',
    'remembered-ports.ts',
    'roles',
    'service-addresses.ts',
  ],
  'pool.ts': ['config.ts', 'drivers/volume', 'roles'],
  'controller.ts': [
    'model',
    'lib',
    'kubernetes',
    'baseline',
    'cluster-keys.ts',
    'config.ts',
    'leading.ts',
    'log-output.ts',
    'roles',
    'webhook',
  ],
  // Whose turn it is.
  'leading.ts': [
    'model',
    'lib',
    'kubernetes',
    'store',
    'type:baseline',
    'drivers/cluster',
    'proxy/stream',
    'reconcile',
    'api',
    'config.ts',
    'internal-keys.ts',
    'roles',
    'rules',
    'telling.ts',
  ],
  // What makes branches in a cluster.
  'branch-node.ts': [
    'model',
    'lib',
    'kubernetes',
    'store',
    'baseline',
    'drivers/open-branches.ts',
    'drivers/processes',
    'proxy/uses.ts',
    'proxy/branches',
    'proxy/stream',
    'reconcile',
    'config.ts',
    'log-output.ts',
    'roles',
  ],
  'telling.ts': [
    'model',
    'lib',
    'store',
    'proxy/stream',
    'reconcile',
    'config.ts',
    'type:baseline',
    'type:roles',
  ],
  // Parts of which roles are made.
  roles: [
    'model',
    'lib',
    'store',
    'drivers',
    'config.ts',
    'home.ts',
    'remembered-ports.ts',
    'type:drivers/open.ts',
    'encryption.ts',
    'kubernetes',
    'log-output.ts',
    'serving.ts',
    'proxy/branches',
    'proxy/stream',
    'type:api',
    'type:reconcile',
    'lazy:baseline',
    'lazy:data',
    'lazy:rules',
    'lazy:reconcile',
    'lazy:api',
    'lazy:store',
  ],
  'index.ts': ['model', 'client', 'daemon.ts'],
};

/** Packages from npm, by part. */
const packages: Readonly<Record<string, readonly string[]>> = {
  model: ['croner', 'yaml', 'zod'],
  lib: ['koffi'],
  kubernetes: ['zod'],
  'drivers/postgres': ['pg'],
  data: ['pg'],
  // Its login.
  sql: ['pg'],
  'proxy/http': ['undici'],
  // Loaded with the first request for SQL.
  'proxy/sql': ['pg', 'ws'],
  api: ['zod'],
  cli: ['commander', 'pg'],
};

/** The only places that may look at `process.env` and `process.argv`. */
const readEnvironment = ['daemon.ts', 'config.ts', 'proxy.ts', 'importer.ts', 'cli'];

test('src/ keeps its direction', () => {
  const files = globSync('**/*.ts', { cwd: src });
  assert.ok(files.length > 50, `only ${files.length} files were found in ${src}`);
  const sources = Object.fromEntries(files.map(file => [file, readFileSync(join(src, file), 'utf8')]));
  assert.deepEqual(problemsIn(sources), []);
});

test('the table of all processes is read nowhere', () => {
  const reads = globSync('**/*.ts', { cwd: src }).filter(file =>
    /\(\s*'\/proc\/?'/.test(readFileSync(join(src, file), 'utf8')),
  );
  assert.deepEqual(reads, []);
});

test('node:http is imported for its types only: see lib/http.ts', () => {
  const imports = globSync('**/*.ts', { cwd: src }).filter(file =>
    /^import (?!type\b)[^;]*from 'node:http';/m.test(readFileSync(join(src, file), 'utf8')),
  );
  assert.deepEqual(imports, []);
});

test('the checker finds what it is for', () => {
  const bad: Readonly<Record<string, { readonly source: string; readonly problem: string }>> = {
    'model/a.ts': { source: `import { x } from '../lib/x.ts';`, problem: 'imports lib/x.ts' },
    'lib/a.ts': { source: `import type {\n  X,\n} from '../model/x.ts';`, problem: 'imports model/x.ts' },
    'store/a.ts': { source: `export * from '../api/x.ts';`, problem: 'imports api/x.ts' },
    'drivers/volume/a.ts': { source: `import '../postgres/x.ts';`, problem: 'imports drivers/postgres/x.ts' },
    'drivers/a.ts': { source: `import x from './volume/x.ts';`, problem: 'imports drivers/volume/x.ts' },
    'drivers/step/a.ts': { source: `import x from '../open.ts';`, problem: 'imports drivers/open.ts' },
    'proxy/http/a.ts': {
      source: `const x = await import('../postgres/x.ts');`,
      problem: 'imports proxy/postgres/x.ts',
    },
    'reconcile/a.ts': {
      source: `import { type X } from '../drivers/contract.ts';`,
      problem: 'imports drivers/contract.ts',
    },
    'reconcile/b.ts': {
      source: `import type { X } from '../drivers/volume/x.ts';`,
      problem: 'imports drivers/volume/x.ts',
    },
    'api/a.ts': { source: `import { x } from '../reconcile/x.ts';`, problem: 'imports reconcile/x.ts' },
    'client/a.ts': { source: `export { x } from '../store/x.ts';`, problem: 'imports store/x.ts' },
    'cli/a.ts': { source: `await import('../store/x.ts');`, problem: 'imports store/x.ts' },
    'cli/commands/up.ts': { source: `import { x } from '../../daemon.ts';`, problem: 'imports daemon.ts' },
    'proxy/http/b.ts': { source: `import pg from 'pg';`, problem: 'imports the package pg' },
    'store/b.ts': { source: `import x from '@scope/name/sub';`, problem: 'imports the package @scope/name' },
    'api/b.ts': { source: 'await import(name);', problem: 'imports something that only a run can tell' },
    'api/c.ts': { source: `const home = process.env['HOME'];`, problem: 'reads the environment' },
    'lib/b.ts': { source: `import { argv } from 'node:process';`, problem: 'reads the environment' },
    'elsewhere/a.ts': { source: '', problem: 'belongs to no part of src/' },
  };
  const sources = Object.fromEntries(Object.entries(bad).map(([file, { source }]) => [file, source]));
  assert.deepEqual(
    problemsIn(sources),
    Object.entries(bad).map(([file, { problem }]) => `${file} ${problem}`),
  );
});

test('the checker allows what is allowed', () => {
  const good = {
    'model/a.ts': `import { createHash } from 'node:crypto';\nimport { parse } from 'yaml';\nimport './b.ts';`,
    'drivers/volume/a.ts': `import { x } from './b.ts';\nimport { y } from '../contract.ts';\n// reads process.env? no`,
    'reconcile/a.ts': `import type { X } from '../drivers/contract.ts';\nimport { y } from '../store/y.ts';`,
    'cli/commands/up.ts': `const { start } = await import('../../daemon.ts');\nprocess.env.HOME;`,
    'cli/commands/a.ts': `import { x } from '../output.ts';\nimport { y } from '../../client/index.ts';`,
    'daemon.ts': `import { x } from './drivers/volume/x.ts';\nprocess.argv;`,
  };
  assert.deepEqual(problemsIn(good), []);
});

// --- the checker ---------------------------------------------------------------------------------

type Import = { readonly target: string; readonly how: 'type' | 'static' | 'lazy' };

/** @param sources by path below src/ */
function problemsIn(sources: Readonly<Record<string, string>>): string[] {
  return Object.entries(sources).flatMap(([file, source]) => {
    const part = partOf(file);
    if (part === undefined) return [`${file} belongs to no part of src/`];
    const problems = importsOf(source)
      .map(({ target, how }) => importProblem(file, part, target, how))
      .filter(problem => problem !== undefined);
    const mayRead = readEnvironment.some(place => isIn(file, place));
    if (!mayRead && readsEnvironment(source)) problems.push('reads the environment');
    return problems.map(problem => `${file} ${problem}`);
  });
}

function importProblem(file: string, part: string, target: string, how: Import['how']): string | undefined {
  if (target === '') return 'imports something that only a run can tell';
  if (!target.startsWith('.')) {
    const name = target.split('/', target.startsWith('@') ? 2 : 1).join('/');
    if (target.startsWith('node:') || builtinModules.includes(name)) return undefined;
    const allowed = Object.entries(packages).some(
      ([place, names]) => isIn(file, place) && names.includes(name),
    );
    return allowed ? undefined : `imports the package ${name}`;
  }
  const path = posix.join(posix.dirname(file), target);
  if (partOf(path) === part) return undefined;
  const allowed = parts[part]!.some(rule => {
    const [place, only] = rule.includes(':') ? [rule.split(':')[1]!, rule.split(':')[0]!] : [rule, how];
    // The composition root reaches into every folder; elsewhere a part is allowed by its own name.
    return (
      only === how && (part === 'daemon.ts' ? isIn(path, place) : partOf(path) === place || path === place)
    );
  });
  return allowed ? undefined : `imports ${path}`;
}

/** The most particular part that a file lies in. */
const partOf = (file: string): string | undefined =>
  Object.keys(parts)
    .filter(part => isIn(file, part))
    .toSorted((a, b) => b.length - a.length)[0];

const isIn = (file: string, place: string): boolean => file === place || file.startsWith(`${place}/`);

function importsOf(source: string): Import[] {
  const statements = [
    ...source.matchAll(/^\s*(?:import|export)\b(?<type> type\b)?(?:[^'";]*?\bfrom)?\s*'(?<target>[^']+)'/gm),
  ].map(
    ({ groups }) =>
      ({ target: groups!.target!, how: groups!.type === undefined ? 'static' : 'type' }) as const,
  );
  const calls = [...source.matchAll(/\bimport\(\s*(?:'(?<target>[^']+)')?/g)].map(
    ({ groups }) => ({ target: groups!.target ?? '', how: 'lazy' }) as const,
  );
  return [...statements, ...calls];
}

function readsEnvironment(source: string): boolean {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '');
  return /\bprocess\.(env|argv)\b|\bfrom 'node:process'/.test(code);
}
