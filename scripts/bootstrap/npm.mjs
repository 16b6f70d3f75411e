/** Runs npm: by argument vector, with a Node of our choice, and a cache that this user can write to. */
import { existsSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { writable } from './files.mjs';
import { cache, root } from './paths.mjs';
import { findProgram, lastLine, run, SetupError } from './run.mjs';

/** @throws SetupError when npm fails, after showing its own words. */
export async function npm(node, args) {
  const env = { ...process.env, PATH: [dirname(node), process.env.PATH].join(delimiter) };
  const npmCache = env.npm_config_cache ?? join(homedir(), '.npm');
  if (!writable(npmCache)) env.npm_config_cache = join(cache, 'npm');
  const program = npmProgram();
  const [file, ...first] = program.endsWith('.js') ? [node, program] : [program];
  const result = await run(file, [...first, ...args], { cwd: root, env, deadlineMs: 20 * 60_000 });
  if (result.ok) return;
  process.stderr.write(result.output);
  throw new SetupError(
    `npm ${args[0]} failed in ${root} (${lastLine(result.output)}): mend what npm says above, then repeat`,
  );
}

/** npm of `npm run`, or beside this Node, or on the PATH; a script of Node's where that can be told. */
function npmProgram() {
  const candidates = [process.env.npm_execpath, join(dirname(process.execPath), 'npm'), findProgram('npm')];
  const found = candidates.find(
    path => path !== undefined && /npm(-cli\.js)?$/.test(path) && existsSync(path),
  );
  if (found === undefined) throw new SetupError('npm was not found on the PATH: install it, then repeat');
  return realpathSync(found);
}
