/** Doctor's questions: to the running daemon, or to the machine itself in a temporary folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../config.ts';
import { silentLog } from '../lib/log.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { CheckView } from '../model/view.ts';
import type { Cli } from './context.ts';

export async function probeMachine(cli: Cli): Promise<readonly CheckView[]> {
  const node: CheckView = {
    area: 'node',
    name: 'version',
    ok: Number(process.versions.node.split('.')[0]) >= 24,
    detail: process.version,
  };
  try {
    return [node, ...(await cli.client().doctor())];
  } catch (error) {
    if (!(error instanceof OffshootError) || error.code !== 'api/unreachable') throw error;
  }
  const home = await mkdtemp(join(tmpdir(), 'offshoot-doctor-'));
  try {
    const { probeDrivers } = await import('../daemon.ts');
    const config = readConfig({ ...cli.env, OFFSHOOT_HOME: home, OFFSHOOT_POOL_SIZE: '1G' }, cli.uid);
    const daemon: CheckView = {
      area: 'daemon',
      name: 'running',
      ok: false,
      detail: 'no daemon answers; start it with "offshoot up"',
    };
    return [node, daemon, ...(await probeDrivers(config, cli.env, silentLog))];
  } catch (thrown) {
    const error = toOffshootError(thrown);
    return [
      node,
      {
        area: 'drivers',
        name: error.code,
        ok: false,
        detail: `${error.message}${error.hint ? `; ${error.hint}` : ''}`,
      },
    ];
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
