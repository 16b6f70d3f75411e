/** A data directory is one process's at a time. */
import { readFileSync, rmSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../config.ts';
import { makeEnterable } from '../drivers/enterable.ts';
import { type Home, makeHome } from '../home.ts';
import { tryExclusive } from '../lib/exclusive.ts';
import { OffshootError } from '../model/errors.ts';

/** @param opened gets what lets go of it again. @throws OffshootError host/already-running */
export async function lockHome(config: Config, opened: AsyncDisposableStack): Promise<Home> {
  const home = makeHome(config.home);
  // Before anything else is made in it: the servers' user must get through.
  await makeEnterable(config.runtimeDir);
  const release = tryExclusive(join(config.home, 'lock'));
  if (release === undefined) {
    throw new OffshootError('host/already-running', {
      pid: pidOf(config.home) ?? 'unknown',
      home: config.home,
    });
  }
  opened.defer(release);
  opened.defer(() => removeRuntimeDir(config));
  return home;
}

/** Only when nothing is mounted in it any more, hence no recursive removal of directories. */
export async function removeRuntimeDir({ runtimeDir }: Config): Promise<void> {
  rmSync(join(runtimeDir, 'pg_hba.conf'), { force: true });
  const dirs = [
    's',
    'pool',
    'pgsql',
    'volumes',
    'proxy',
    'network',
    '.',
    ...(dirname(runtimeDir).endsWith('/offshoot') ? ['..'] : []),
  ];
  for (const dir of dirs) await rmdir(join(runtimeDir, dir)).catch(() => {});
}

// --- internal -----------------------------------------------------------------------------------

function pidOf(home: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(home, 'client.json'), 'utf8')) as { pid: number }).pid;
  } catch {
    return undefined;
  }
}
