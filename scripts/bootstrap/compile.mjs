/** Node keeps what it has compiled. Done once here, so that the first daemon starts as quick and as small as all later ones. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { chosenNode } from './node.mjs';
import { root } from './paths.mjs';
import { run } from './run.mjs';

/** @param folder of a bundle. It only saves time later, so it may fail: whoever runs the code next will see why. */
export async function compile(folder) {
  // All but the programs, which would run.
  const parts = readdirSync(folder).filter(name => /^part-.*\.cjs$/.test(name));
  const script = parts.map(name => `require(${JSON.stringify(join(folder, name))});`).join('\n');
  // As ./offshoot names it.
  const env = { ...process.env, NODE_COMPILE_CACHE: join(folder, 'compiled') };
  await run(chosenNode(), ['--input-type=commonjs', '--eval', script], {
    cwd: root,
    env,
    deadlineMs: 60_000,
  });
}
