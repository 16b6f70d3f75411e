/**
 * A database from elsewhere into a project: `offshoot project create --from`, and the same by `pg_dump | psql` into an empty
 * project, by turns, each from the first call to the last; and the same with two of six columns masked. `node bench/data.ts [--runs 3] [--mb 200]`
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { testDaemon } from '../test/support/daemon.ts';
import { sourceServer, sourceVersions } from '../test/support/source-server.ts';
import { tempDir } from '../test/support/temp.ts';
import { type Row, summarise } from './statistics.ts';

const goal = 1.2;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { runs: { type: 'string', default: '3' }, mb: { type: 'string', default: '200' } },
  });
  const [runs, mb] = [Number(values.runs), Number(values.mb)];
  const debian = (await sourceVersions()).find(({ bin }) => bin !== undefined);
  if (debian === undefined) {
    console.log('skipped: pg_dump of PostgreSQL 15 is not where Debian has it');
    return [];
  }
  await using source = await sourceServer(debian);
  await source.sql('postgres', 'CREATE DATABASE staging');
  await source.sql('staging', tablesOf(mb));
  await using daemon = await testDaemon({ env: { OFFSHOOT_POOL_SIZE: '20G' } });
  const ok = async (...args: string[]) => {
    const result = await daemon.cli(args);
    if (result.code !== 0) throw new Error(result.stderr);
    return result.stdout.trim();
  };
  await using rules = await tempDir();
  const mask = join(rules.path, 'mask.yaml');
  writeFileSync(mask, 'tables: { "t*": { name: name, at: { shift: 30 } } }\nkeep: ["*.*"]\n');
  const times = { import: [] as number[], masked: [] as number[], pipe: [] as number[] };
  const timed = async (into: number[], work: () => Promise<unknown>) => {
    const begun = performance.now();
    await work();
    into.push(performance.now() - begun);
  };
  for (let run = 0; run < runs; run++) {
    await timed(times.import, () => ok('project', 'create', `i${run}`, '--from', source.url('staging')));
    await timed(times.masked, () =>
      ok('project', 'create', `m${run}`, '--from', source.url('staging'), '--mask', mask),
    );
    await timed(times.pipe, async () => {
      await ok('project', 'create', `p${run}`);
      const url = await ok('branch', 'url', 'main', '-p', `p${run}`);
      await pipe(`${debian.bin}/pg_dump`, ['-O', '-x', source.url('staging')], `${debian.bin}/psql`, [
        '-q',
        '-o',
        '/dev/null',
        url,
      ]);
    });
    for (const name of [`i${run}`, `m${run}`, `p${run}`])
      await ok('project', 'delete', name, '--now', '--yes');
  }
  const [ours, masked, theirs] = [summarise(times.import), summarise(times.masked), summarise(times.pipe)];
  const ratio = theirs.p50 / ours.p50;
  console.log(
    `${mb} MB: import ${(ours.p50 / 1000).toFixed(1)} s, pg_dump | psql ${(theirs.p50 / 1000).toFixed(1)} s: ${ratio.toFixed(2)} × (goal ${goal})`,
  );
  const more = (masked.p50 - ours.p50) / ours.p50;
  console.log(
    `masked ${(masked.p50 / 1000).toFixed(1)} s: masking takes ${more.toFixed(2)} of the import's time (goal 1)`,
  );
  return [
    { what: `import of ${mb} MB`, summary: ours },
    { what: `the same, two of six columns masked`, summary: masked },
    { what: `pg_dump | psql of ${mb} MB`, summary: theirs },
  ];
}

// --- internal -----------------------------------------------------------------------------------

/** Twenty tables with keys, of which one is half of all. */
const tablesOf = (mb: number): string =>
  Array.from({ length: 20 }, (_, i) => {
    const rows = Math.round((mb * (i === 0 ? 10 : 10 / 19) * 2 ** 20) / 20 / 220);
    return `CREATE TABLE t${i} (id bigint PRIMARY KEY, at timestamptz, n numeric(12, 2), name text, body text, tags jsonb);
      INSERT INTO t${i} SELECT g, timestamptz '2024-01-01' + g * interval '1 s', g / 7.0, md5(g::text), repeat(md5((g * 7)::text), 3), jsonb_build_object('k', g) FROM generate_series(1, ${rows}) g;
      CREATE INDEX ON t${i} (at); CREATE INDEX ON t${i} (name);`;
  }).join('\n');

async function pipe(
  from: string,
  fromArgs: readonly string[],
  to: string,
  toArgs: readonly string[],
): Promise<void> {
  const left = spawn(from, fromArgs, { stdio: ['ignore', 'pipe', 'inherit'] });
  const right = spawn(to, toArgs, { stdio: ['pipe', 'ignore', 'inherit'] });
  left.stdout.pipe(right.stdin);
  const [[a], [b]] = await Promise.all([once(left, 'exit'), once(right, 'exit')]);
  if (a !== 0 || b !== 0) throw new Error(`pg_dump ended with ${a}, psql with ${b}`);
}

if (import.meta.main) await main(process.argv.slice(2));
