/** Opens an address in the person's browser. */
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { findProgram } from '../lib/find-program.ts';
import { delay } from '../lib/wait.ts';
import type { Cli } from './context.ts';

/**
 * By way of a file that only this user can read: what an address holds that opens something must not stand on a command
 * line, where everybody on the machine sees it.
 * @returns why not, in words; undefined: a browser has taken it
 */
export async function openInBrowser(
  { env, cwd, uid, signal }: Cli,
  url: string,
): Promise<string | undefined> {
  const names = env.BROWSER ? [env.BROWSER] : process.platform === 'darwin' ? ['open'] : ['xdg-open'];
  if (!env.BROWSER && process.platform !== 'darwin' && !env.DISPLAY && !env.WAYLAND_DISPLAY)
    return 'there is no screen here (DISPLAY and WAYLAND_DISPLAY are not set)';
  const [program] = await Promise.all(names.map(name => findProgram(name, env.PATH ?? '', cwd)));
  if (program === undefined) return `there is no ${names[0]} (BROWSER names another program)`;
  const place = env.TMPDIR || tmpdir();
  removeOld(place, uid);
  const folder = mkdtempSync(join(place, PREFIX));
  chmodSync(folder, 0o700);
  const file = join(folder, 'open.html');
  const target = url.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);
  writeFileSync(file, `<!doctype html><meta http-equiv="refresh" content="0;url=${target}">\n`, {
    mode: 0o600,
  });
  const child = spawn(program, [pathToFileURL(file).href], { env, detached: true, stdio: 'ignore' });
  const ended = new Promise<string | undefined>(resolve => {
    child.once('error', error => resolve(error.message));
    child.once('exit', code => resolve(code === 0 ? undefined : `it ended with code ${code}`));
  });
  // What starts a browser ends by itself; what is the browser goes on.
  const why = await Promise.race([ended, delay(START_MS, signal).then(() => undefined)]);
  child.unref();
  if (why === undefined) return undefined;
  rmSync(folder, { recursive: true, force: true });
  return `${program}: ${why}`;
}

// --- internal -----------------------------------------------------------------------------------

const PREFIX = 'offshoot-open-';
/** Until then a program that cannot open anything has said so. */
const START_MS = 3_000;
/** By then the browser has read it, and the link opens nothing any more. */
const OLD_MS = 120_000;

function removeOld(place: string, uid: number): void {
  for (const name of readdirSync(place).filter(one => one.startsWith(PREFIX))) {
    const path = join(place, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.uid === uid && Date.now() - found.mtimeMs > OLD_MS)
      rmSync(path, { recursive: true, force: true });
  }
}
