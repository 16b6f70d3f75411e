/** Node keeps compiled code in .cache/compile. Filled once here, so that the first daemon starts as quick and as small as all later ones. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chosenNode } from './node.mjs';
import { cache, root } from './paths.mjs';
import { run } from './run.mjs';

/** It only saves time later, so it may fail: whoever runs the code next will see why. */
export async function compile() {
  const commands = join(root, 'src', 'cli', 'commands');
  // Daemon and proxy load these by and by.
  const loaded = [
    'daemon',
    'proxy',
    'api/server',
    'drivers/open',
    'reconcile/loop',
    'store/sqlite',
    'cli/main',
  ];
  const files = [
    ...loaded.map(name => join(root, 'src', `${name}.ts`)).filter(existsSync),
    ...(existsSync(commands) ? readdirSync(commands).map(name => join(commands, name)) : []),
  ];
  const imports = files.map(file => `await import(${JSON.stringify(pathToFileURL(file).href)});`).join('\n');
  const env = {
    ...process.env,
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(cache, 'compile'),
  };
  await run(chosenNode(), ['--input-type=module', '--eval', imports], { cwd: root, env, deadlineMs: 60_000 });
}
