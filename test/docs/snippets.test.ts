/** Snippets of the documentation: commands run for real in the order in which they stand, YAML is read as what it is. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { readResourcePlugin } from '../../src/model/document/plugin.ts';
import { readSandbox } from '../../src/model/document/sandbox.ts';
import { readMaskRules } from '../../src/model/mask.ts';
import { parseOffshootConfig } from '../../src/model/offshoot-config.ts';
import { deployBaseline } from '../support/baseline.ts';
import { root, testDaemon } from '../support/daemon.ts';
import { gitProject } from '../support/git-project.ts';
import { tempDir } from '../support/temp.ts';

const pages = [
  'docs/deploy.md',
  'docs/images.md',
  'docs/sandboxes.md',
  'docs/environments.md',
  'docs/branches.md',
  'docs/data.md',
  'docs/routing.md',
  'docs/operating.md',
  'docs/encryption.md',
];

/** What the pages call `k8s/`. */
const settings =
  'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: pages}\ndata: {COLOR: red}\n';

type Block = {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
};

function blocksOf(file: string): readonly Block[] {
  const found: Block[] = [];
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  for (let i = 0; i < lines.length; i++) {
    const language = /^```(\w+)$/.exec(lines[i]!)?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf('```', i + 1);
    assert.ok(end > i, `${file}:${i + 1}: the block ends`);
    found.push({ file, line: i + 1, language, text: lines.slice(i + 1, end).join('\n') });
    i = end;
  }
  return found;
}

const blocks = [...pages, 'README.md'].flatMap(blocksOf);

test('YAML snippets are valid documents', () => {
  const yaml = blocks.filter(b => b.language === 'yaml');
  assert.ok(yaml.length >= 3);
  for (const { file, line, text } of yaml) {
    const source = { file: `${file}:${line}`, text };
    const value = parse(text) as { spec: object; images?: object; migrate?: object; tables?: object };
    const { spec, images, migrate } = value;
    if (images !== undefined || migrate !== undefined) parseOffshootConfig(parse(text), source.file);
    else if (value.tables !== undefined) readMaskRules(value);
    else if ('cluster' in spec) readSandbox(source);
    else readResourcePlugin(source);
  }
});

test('the first page names the commands that package.json has', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const text =
    readFileSync(join(root, 'README.md'), 'utf8') + readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const named = [...text.matchAll(/npm (?:run )?(demo|test|bench|check)\b/g)].map(m => m[1]!);
  assert.deepEqual([...new Set(named)].sort(), ['bench', 'check', 'demo', 'test']);
  for (const name of named) assert.ok(scripts[name], name);
});

test('commands of the pages run as they stand', async t => {
  await using daemon = await testDaemon();
  await using bin = await tempDir();
  // What a snippet writes must not stay: they see the project's files, in a folder of their own.
  await using here = await tempDir();
  for (const entry of readdirSync(root)) symlinkSync(join(root, entry), join(here.path, entry));
  mkdirSync(join(here.path, 'k8s'));
  writeFileSync(join(here.path, 'k8s', 'settings.yaml'), settings);
  await deployBaseline(daemon.cli);
  mkdirSync(join(bin.path, 'bin'));
  symlinkSync(join(root, 'offshoot'), join(bin.path, 'bin', 'offshoot'));
  const hasCurl = (process.env.PATH ?? '').split(':').some(dir => {
    try {
      return readFileSync(join(dir, 'curl')).length > 0;
    } catch {
      return false;
    }
  });
  // Those of one page are about a repository of the reader's.
  const repository = await gitProject(join(bin.path, 'shop'), {
    ...{ namespace: 'demo', image: 'users-service', env: daemon.env },
    environment: { forks: ['demo/users-service'] },
  });
  const env = { ...daemon.env, PATH: `${join(bin.path, 'bin')}:${process.env.PATH}` };
  for (const block of blocks.filter(b => b.language === 'sh' && b.file !== 'README.md')) {
    const name = `${block.file}:${block.line}`;
    await t.test(name, async t => {
      if (!hasCurl && /\bcurl\b/.test(block.text)) return t.skip('there is no curl on this machine');
      const child = spawn('sh', ['-eu', '-c', block.text], {
        cwd: block.file === 'docs/environments.md' ? repository.folder : here.path,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', chunk => (output += String(chunk)));
      const [code] = await once(child, 'close');
      assert.equal(code, 0, output);
    });
  }
});
