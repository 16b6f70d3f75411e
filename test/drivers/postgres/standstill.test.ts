import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { letGoOn, standstill } from '../../../src/drivers/postgres/standstill.ts';
import { until } from '../../../src/lib/wait.ts';
import { testProcesses } from '../../support/processes.ts';
import { tempDir } from '../../support/temp.ts';

test('servers stand still for as long as something is done, whatever comes of it; others do not', async () => {
  await using dir = await tempDir();
  const processes = await testProcesses(dir.path);
  await using opened = new AsyncDisposableStack();
  opened.defer(() => processes.close());
  const start = async (part: string) => {
    const argv = ['/bin/sh', '-c', 'sleep 100 & wait'];
    const program = { argv, env: {}, cwd: '/', stdout: 'ignore', stderr: 'ignore' } as const;
    const { leader } = await processes.start(part, program);
    await until(async () => ((await processes.members(part)).length === 2 ? true : undefined), {
      ...{ what: `${part} has its child`, deadlineMs: 60_000 },
    });
    return leader.pid;
  };
  await start('postgres/a');
  const other = await start('workload/b');
  const standing = async (part: string) => {
    const states = (await processes.members(part)).map(stateOf);
    return states.every(s => s === 'T') ? 'all' : states.some(s => s === 'T') ? 'some' : 'none';
  };
  const untilStanding = (wanted: string) =>
    until(async () => ((await standing('postgres/a')) === wanted ? true : undefined), {
      ...{ what: `${wanted} stand`, deadlineMs: 60_000 },
    });

  const result = await standstill(processes, async () => {
    await untilStanding('all');
    assert.notEqual(stateOf(other), 'T');
    return 7;
  });
  assert.equal(result, 7);
  await untilStanding('none');

  await assert.rejects(
    standstill(processes, () => Promise.reject(new Error('no'))),
    /no/,
  );
  await untilStanding('none');

  for (const pid of await processes.members('postgres/a')) process.kill(pid, 'SIGSTOP');
  await untilStanding('all');
  await letGoOn(processes);
  await untilStanding('none');
});

/** Of proc_pid_stat(5): T is stopped. */
function stateOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
}
