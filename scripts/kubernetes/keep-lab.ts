/**
 * Holds a cluster of the lab for as long as somebody listens: `node keep-lab.ts LAB HOME`. Prints `up` or `refused`, waits for the
 * end of its input, and takes the cluster down. It is a process of its own, so that this also happens when the tests are
 * killed: the kernel closes their end of the pipe.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryExclusive } from '../../src/lib/exclusive.ts';

const [lab = '', home = ''] = process.argv.slice(2);
/** The cluster is that of tests, and not of somebody who wants to keep it. */
const ours = join(home, 'of-tests');

for (const stream of [process.stdin, process.stdout]) stream.on('error', () => {});
const release = tryExclusive(join(home, 'tests.lock'));
if (release === undefined) {
  console.log('refused');
  process.exit(1);
}
await command('down');
writeFileSync(ours, `${process.pid}\n`);
if (await command('up')) {
  console.log('up');
  process.stdin.resume();
  await once(process.stdin, 'close');
}
if (await command('down')) rmSync(ours);
else process.exitCode = 1;
release();

// --- internal ------------------------------------------------------------------------------------

/** @returns whether it went well; what it has to say goes to stderr */
async function command(name: 'up' | 'down'): Promise<boolean> {
  const child = spawn('bash', [lab, name], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, LAB_HOME: home },
  });
  const [code] = (await once(child, 'close').catch(() => [1])) as [number | null];
  return code === 0;
}
