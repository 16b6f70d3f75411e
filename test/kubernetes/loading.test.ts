/** Who lives on one machine pays nothing for clusters. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { it } from 'node:test';

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
