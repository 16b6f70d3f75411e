/**
 * Entry of the data path's process. Nobody may import it: in a bundle what is imported is no entry any more.
 */
import { parseArgs } from 'node:util';
import { nameSourceLines } from './lib/source-lines.ts';
import { inheritedVariable } from './proxy/hand-over.ts';
import { runProxy } from './serving.ts';

if (import.meta.main) void run();

/** No `await` at the top: a bundle is no module. */
async function run(): Promise<void> {
  nameSourceLines();
  const { values } = parseArgs({
    options: {
      home: { type: 'string' },
      'runtime-dir': { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
    },
  });
  const abort = new AbortController();
  process.once('SIGTERM', () => abort.abort(new Error('SIGTERM')));
  await runProxy({
    ...{ home: values.home!, runtimeDir: values['runtime-dir']!, logLevel: values['log-level'] },
    ...{ inherited: process.env[inheritedVariable], signal: abort.signal },
  });
  process.exit();
}
