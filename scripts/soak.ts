/**
 * `npm run soak -- NAME…`: what must hold at full size, on a real daemon, for minutes. Prints what was wanted and
 * what was found; the exit code says whether all holds. A tenth of each scenario is a test (test/soak/).
 */
import { cpus } from 'node:os';
import { mark } from './report.ts';
import { brokenParent } from './soak/broken-parent.ts';
import type { Finding, Scenario } from './soak/scenario.ts';

const scenarios: Readonly<Record<string, Scenario>> = {
  'broken-parent': brokenParent,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter(name => !Object.hasOwn(scenarios, name));
if (wanted.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`unknown: ${unknown.join(', ')}`);
  console.error('npm run soak -- NAME…');
  for (const [name, { about }] of Object.entries(scenarios)) console.error(`  ${name.padEnd(16)}${about}`);
  process.exit(2);
}

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}`);
let failed = 0;
for (const name of wanted) failed += (await soak(name, scenarios[name]!)) ? 0 : 1;
process.exitCode = failed === 0 ? 0 : 1;
console.log(`\n${wanted.length - failed} of ${wanted.length} hold`);

// --- internal -----------------------------------------------------------------------------------

async function soak(name: string, { about, deadlineMs, run }: Scenario): Promise<boolean> {
  console.log(`\n${name}: ${about}`);
  const begun = performance.now();
  const signal = AbortSignal.timeout(deadlineMs);
  try {
    const findings = await run(1, signal);
    for (const finding of findings) console.log(line(finding));
    console.log(`  ${Math.round((performance.now() - begun) / 1000)} s`);
    return findings.every(f => f.ok);
  } catch (error) {
    console.log(
      `${mark.failed} ${signal.aborted ? `gave up after ${deadlineMs / 1000} s` : 'stopped'}`,
      error,
    );
    return false;
  }
}

function line({ what, wanted, found, ok }: Finding): string {
  const outcome = wanted === '' ? ' ' : mark[ok ? 'passed' : 'failed'];
  return `${outcome} ${what}: ${found}${wanted === '' ? '' : ` (${wanted})`}`;
}
