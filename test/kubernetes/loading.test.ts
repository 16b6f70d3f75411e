/** Who lives on one machine pays nothing for clusters, and who stands beside each pod for nothing that it does not use. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';
import { exec } from '../../src/lib/exec.ts';

const src = join(import.meta.dirname, '../../src');

/** What loading `file` loads: imports of values that are not `import()`. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  const source = readFileSync(file, 'utf8');
  for (const [, target] of source.matchAll(
    /^(?:import|export)\b(?! type\b)(?:[^'";]*?\bfrom)?\s*'(\.[^']+)'/gm,
  )) {
    const path = resolve(dirname(file), target!);
    if (existsSync(path)) loadedBy(path, seen);
  }
  return seen;
}

for (const program of ['daemon.ts', 'proxy.ts', 'outpost.ts', 'cli/main.ts'])
  it(`${program} loads nothing of src/kubernetes until a cluster is asked for`, () => {
    const loaded = [...loadedBy(join(src, program))].map(file => relative(src, file));
    assert.ok(loaded.length > 3, `only ${loaded}`);
    assert.deepEqual(
      loaded.filter(file => /^kubernetes\/|^(store|baseline)\/kubernetes/.test(file)),
      [],
    );
  });

it('a sidecar loads HTTP/2 and undici when somebody asks for them, and nothing of the rest of the command line', async () => {
  const script = `import { registerHooks } from 'node:module';
    const files = [];
    registerHooks({ load: (url, context, next) => { files.push(url); return next(url, context); } });
    await import(process.argv[1]);
    const own = process.moduleLoadList.map(name => 'node:' + name.split(' ').at(-1));
    console.log(JSON.stringify([...files, ...own]));`;
  const entry = join(src, 'sidecar.ts');
  const { stdout } = await exec(process.execPath, ['--input-type=module', '-e', script, entry], {
    maxOutput: 1024 * 1024,
  });
  const loaded = JSON.parse(stdout) as readonly string[];
  assert.ok(loaded.some(file => file.endsWith('/src/proxy/http/router.ts')));
  const others =
    /^node:http2$|\/undici\/|\/(zod|yaml|pg)\/|\/src\/(cli|client|api|store|reconcile|kubernetes)\//;
  assert.deepEqual(
    loaded.filter(file => others.test(file)),
    [],
  );
  const entries = [...loadedBy(join(src, 'cli/sidecar.ts'))].map(file => relative(src, file));
  assert.deepEqual(
    entries.filter(file => /^(client|api|cli\/commands\/(?!sidecar))/.test(file)),
    [],
  );
});
