/**
 * Sets a checkout up and runs a script with Node 24: `node scripts/bootstrap.mjs [script.ts args…]`.
 *
 * Plain JavaScript without dependencies, for Node 18 and later, because nothing is installed yet when it
 * runs. Every step looks first and works only when needed, so a second run costs a few file reads.
 * All output goes to stderr: stdout belongs to the script.
 */
import { spawn } from 'node:child_process';
import { delimiter, dirname, join, resolve } from 'node:path';
import { installBtrfs, needsBtrfs } from './bootstrap/btrfs.mjs';
import { bundle } from './bootstrap/bundle.mjs';
import { withLock } from './bootstrap/lock.mjs';
import { chosenNode, installNode, linkNode, nodeIsLinked } from './bootstrap/node.mjs';
import { installPackages, packagesAreFresh } from './bootstrap/packages.mjs';
import { cache, root } from './bootstrap/paths.mjs';
import { linkPostgres, postgresIsLinked } from './bootstrap/postgres.mjs';
import { ended, passSignals, SetupError, say } from './bootstrap/run.mjs';

try {
  await setUp();
  const [script, ...args] = process.argv.slice(2);
  if (script !== undefined) await runScript(resolve(root, script), args);
  else if (process.env.npm_lifecycle_event === 'setup') say(`ready, with Node at ${chosenNode()}`);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 1;
}

async function setUp() {
  if (!(nodeIsLinked() && packagesAreFresh() && postgresIsLinked()))
    await withLock(join(cache, 'setup.lock'), async () => {
      if (chosenNode() === undefined) await installNode();
      if (!nodeIsLinked()) linkNode();
      if (!packagesAreFresh()) await installPackages();
      linkPostgres();
    });
  await bundle();
  // Not under the lock: apt has its own, and a checkout that is read-only for this user still works.
  if (needsBtrfs()) await installBtrfs();
}

/** Becomes the script: same streams, same signals, same exit. */
async function runScript(script, args) {
  const node = chosenNode();
  const child = spawn(node, [script, ...args], {
    stdio: 'inherit',
    env: {
      ...process.env,
      // First on the PATH, so that what the script starts as `node` is the same Node.
      PATH: [dirname(node), process.env.PATH].join(delimiter),
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(cache, 'compile'),
    },
  });
  const stopPassing = passSignals(child);
  const { code, signal } = await ended(child);
  stopPassing();
  if (signal === null) process.exitCode = code;
  else process.kill(process.pid, signal);
}
