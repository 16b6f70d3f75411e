/** `npm run check`: everything that `npm test` checks without running tests. `--write` mends and renews. */
import { parseArgs } from 'node:util';
import { checks } from './checks.ts';

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });

for (const check of checks) {
  const problem = await check.run(values.write);
  console.log(`${problem === undefined ? '✔' : '✖'} ${check.name}`);
  if (problem === undefined) continue;
  console.log(problem);
  process.exitCode = 1;
}
