/**
 * `npm run soak -- NAME… [--seed N] [--share 0.1]`: what must hold at full size, on a real daemon, for minutes. Prints
 * what was wanted and what was found, at last all of it in one line of JSON; the exit code says whether all holds. A
 * tenth of each scenario is a test (test/soak/).
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { mark } from './report.ts';
import { brokenParent } from './soak/broken-parent.ts';
import { full } from './soak/full.ts';
import { kill } from './soak/kill.ts';
import { operations } from './soak/operations.ts';
import { powerCuts } from './soak/power-cuts.ts';
import { residents } from './soak/residents.ts';
import type { Finding, Scenario } from './soak/scenario.ts';
import { worktrees } from './soak/worktrees.ts';

const scenarios: Readonly<Record<string, Scenario>> = {
  'broken-parent': brokenParent,
  full,
  kill,
  operations,
  'power-cuts': powerCuts,
  residents,
  worktrees,
};

const { positionals: wanted, values } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' }, share: { type: 'string', default: '1' } },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const share = Number(values.share);
const unknown = wanted.filter(name => !Object.hasOwn(scenarios, name));
if (wanted.length === 0 || unknown.length > 0) {
  if (unknown.length > 0) console.error(`unknown: ${unknown.join(', ')}`);
  console.error('npm run soak -- NAME… [--seed N] [--share 0.1]');
  for (const [name, { about }] of Object.entries(scenarios)) console.error(`  ${name.padEnd(16)}${about}`);
  process.exit(2);
}

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${new Date().toISOString()}`);
const results: Result[] = [];
for (const name of wanted) results.push(await soak(name, scenarios[name]!));
const failed = results.filter(({ ok }) => !ok).length;
process.exitCode = failed === 0 ? 0 : 1;
console.log(`\n${wanted.length - failed} of ${wanted.length} hold`);
console.log(JSON.stringify(results));

// --- internal -----------------------------------------------------------------------------------

type Result = {
  readonly soak: string;
  readonly ok: boolean;
  readonly share: number;
  readonly seed: number;
  readonly seconds: number;
  readonly findings: Readonly<Record<string, string>>;
};

async function soak(name: string, { about, deadlineMs, run, missing }: Scenario): Promise<Result> {
  console.log(`\n${name}: ${about}`);
  const begun = performance.now();
  const signal = AbortSignal.timeout(deadlineMs);
  const findings: Finding[] = [];
  let stopped = false;
  try {
    const why = await missing?.();
    if (why !== undefined) throw new Error(why);
    findings.push(...(await run(share, signal, seed)));
    for (const finding of findings) console.log(line(finding));
  } catch (error) {
    stopped = true;
    console.log(
      `${mark.failed} ${signal.aborted ? `gave up after ${deadlineMs / 1000} s` : 'stopped'} (seed ${seed})`,
      error,
    );
  }
  const seconds = Math.round((performance.now() - begun) / 1000);
  console.log(`  ${seconds} s`);
  return {
    ...{ soak: name, ok: !stopped && findings.every(f => f.ok), share, seed, seconds },
    findings: Object.fromEntries(findings.map(({ what, found }) => [what, found])),
  };
}

function line({ what, wanted, found, ok }: Finding): string {
  const outcome = wanted === '' ? ' ' : mark[ok ? 'passed' : 'failed'];
  return `${outcome} ${what}: ${found}${wanted === '' ? '' : ` (${wanted})`}`;
}
