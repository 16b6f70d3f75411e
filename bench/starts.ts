/**
 * What the machine itself takes for many branches of one parent at once, without daemon, loop and proxy: copies, starts
 * and first sessions by the drivers alone: `node bench/starts.ts [--branches 20] [--runs 5]`. Nothing above them can be
 * quicker. By turns each is a copy of the running parent, or all are copies of one clean base. Beside the time it says how much of the processors all of the machine used meanwhile.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { recordOf, type TestBranches, testBranches, testCtx } from '../test/support/postgres.ts';
import { printRows, type Row, summarise } from './statistics.ts';

/** As many as a branch node starts, or copies, at once. */
const AT_ONCE = 8;

export async function main(argv: readonly string[]): Promise<readonly Row[]> {
  const { values } = parseArgs({
    args: [...argv],
    options: { branches: { type: 'string', default: '20' }, runs: { type: 'string', default: '5' } },
  });
  const ids = Array.from({ length: Number(values.branches) }, (_, i) => `branch-${i}`);
  await using b = await testBranches(undefined, { poolBytes: 4 * 2 ** 30 });
  await b.branch('parent');
  const kinds = {
    'of the parent': { copies: (id: string) => copy(b, id) },
    'of a base': { 'base made': () => makeBase(b), copies: (id: string) => copy(b, id, BASE) },
  };
  const rows = new Map<string, { times: number[]; cpu: number[] }>();
  const measure = async (what: string, work: () => Promise<unknown>) => {
    const row = rows.get(what) ?? { times: [], cpu: [] };
    rows.set(what, row);
    const [begun, cpu] = [performance.now(), busyMs()];
    await work();
    row.times.push(performance.now() - begun);
    row.cpu.push(busyMs() - cpu);
  };
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [kind, first] of Object.entries(kinds)) {
      const phases = {
        ...first,
        starts: (id: string) => start(b, id),
        'first sessions': (id: string) => b.sql(id, 'SELECT 1'),
      };
      for (const [phase, work] of Object.entries(phases))
        await measure(`${phase}, ${kind}`, () => inPlaces(phase === 'base made' ? [BASE] : ids, work));
      for (const id of [...ids, BASE]) {
        await b.servers.remove(id, testCtx());
        await b.volumes.remove(id, testCtx());
      }
    }
  }
  const all = [...rows].flatMap(([phase, { times, cpu }]): Row[] => [
    { what: `${ids.length} branches at once: ${phase}`, summary: summarise(times) },
    { what: `  processors of the machine meanwhile`, summary: summarise(cpu) },
  ]);
  printRows(all);
  return all;
}

// --- internal ------------------------------------------------------------------------------------

const BASE = 'base';

const dataDirs = new Map<string, string>();

async function copy(b: TestBranches, id: string, from = 'parent'): Promise<void> {
  const ctx = testCtx();
  const live = from === BASE ? undefined : await b.servers.live(from, ctx);
  const source = { id: from, ...(live && { live }) };
  const spec = { record: recordOf(id, 'parent'), source, prepare: b.servers.adopt };
  dataDirs.set(id, (await b.volumes.ensure(id, spec, ctx)).dataDir);
}

/** As drivers/branch/bases.ts does. */
async function makeBase(b: TestBranches): Promise<void> {
  const ctx = testCtx();
  const live = (await b.servers.live('parent', ctx))!;
  const prepare = async (dir: string): Promise<void> => {
    await b.servers.adopt(dir, ctx);
    await b.servers.recover(BASE, dir, ctx);
  };
  await b.volumes.ensure(
    BASE,
    { record: recordOf(BASE, 'parent'), source: { id: 'parent', live }, prepare },
    ctx,
  );
}

const start = (b: TestBranches, id: string) =>
  b.servers.ensure(id, { dataDir: dataDirs.get(id)!, name: id }, testCtx());

async function inPlaces(ids: readonly string[], work: (id: string) => Promise<unknown>): Promise<void> {
  const left = [...ids];
  const place = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) await work(id);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, place));
}

/** Milliseconds that the processors have worked since the machine was started (proc_stat(5), in hundredths). */
function busyMs(): number {
  const [, ...fields] = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]!.split(/\s+/);
  const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0] = fields.map(Number);
  return (user + nice + system + irq + soft) * 10;
}

if (import.meta.main) await main(process.argv.slice(2));
