/** All that there is of a daemon, to be compared with what there was. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../src/lib/wait.ts';
import type { TestDaemon } from '../../test/support/daemon.ts';
import { type Finding, none } from './scenario.ts';

/** Parts with processes, folders of parts and volumes, branches; what there is of each proxy is numbered. */
export async function whatRuns(daemon: TestDaemon): Promise<readonly string[]> {
  const parts = (await daemon.labelled('')).map(entry =>
    entry.split(' ')[1]!.replace(/^proxy\/\d+$/, 'proxy'),
  );
  const folders = ['workloads', 'processes', 'steps'].map(async folder =>
    (await readdir(join(daemon.home, folder)).catch(() => [])).map(
      name => `${folder}/${name.replace(/^proxy.\d+/, 'proxy')}`,
    ),
  );
  const branches = (await daemon.client.branches.list('default')).map(({ name }) => `branch ${name}`);
  const sandboxes = (await daemon.client.sandboxes.list()).map(({ name }) => `sandbox ${name}`);
  const { leftovers, proxies } = await daemon.client.status();
  return [
    ...new Set(parts),
    ...(await Promise.all(folders)).flat(),
    ...branches,
    ...sandboxes,
    ...leftovers,
    // Which of the machine's loop devices is free when a pool is mounted anew is not up to us.
    ...daemon.mounts().map(mount => `mount ${mount.replace(/^\/dev\/loop\d+/, '/dev/loop')}`),
    `${proxies.length} proxy`,
  ].sort();
}

/** Whether all is as it was. */
export async function asBefore(daemon: TestDaemon, before: readonly string[]): Promise<Finding> {
  const difference = async () => {
    const now = await whatRuns(daemon);
    return [
      ...now.filter(text => !before.includes(text)).map(text => `+ ${text}`),
      ...before.filter(text => !now.includes(text)).map(text => `- ${text}`),
    ];
  };
  // What is not needed any more may be ending still.
  await until(async () => ((await difference()).length === 0 ? true : undefined), {
    ...{ what: 'all is as before', deadlineMs: 60_000, intervalMs: 200 },
  }).catch(() => {});
  return none('processes, folders, mounts and objects that came or went', await difference());
}
