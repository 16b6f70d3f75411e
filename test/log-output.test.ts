/** What a line of our own logs holds. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../src/lib/wait.ts';
import { openLog } from '../src/log-output.ts';
import { OffshootError } from '../src/model/errors.ts';
import { tempDir } from './support/temp.ts';

/** The lines that `write` makes, without their time. */
async function written(level: string, write: (log: ReturnType<typeof openLog>) => void) {
  await using dir = await tempDir();
  const file = join(dir.path, 'a.log');
  const log = openLog(file, level);
  write(log);
  log.error({}, 'the last');
  const text = await until(
    async () => {
      const found = await readFile(file, 'utf8').catch(() => '');
      return found.includes('the last') ? found : undefined;
    },
    { what: 'the log is written', deadlineMs: 60_000 },
  );
  return text
    .trimEnd()
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line) as Record<string, unknown>)
    .map(({ time, ...rest }) => {
      assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      return rest;
    });
}

test('a message, its level and its fields, those of the parent included', async () => {
  const lines = await written('info', log => {
    log.debug({}, 'not asked for');
    log.info({ a: 1 }, 'one');
    log.child({ of: 'x' }).warn({ b: 2n }, 'two');
  });
  assert.deepEqual(lines, [
    { level: 30, a: 1, msg: 'one' },
    { level: 40, of: 'x', b: '2', msg: 'two' },
  ]);
});

test('an error tells where it comes from, and why', async () => {
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  const err = new OffshootError('api/unreachable', { url: 'http://x' }, { cause, detail: 'tried once' });
  const [line] = await written('info', log => log.error({ err }, 'failed'));
  const seen = line!.err as Record<string, unknown>;
  assert.deepEqual(
    [seen.type, seen.message, seen.code, seen.detail],
    ['OffshootError', 'no offshoot daemon answers at http://x', 'api/unreachable', 'tried once'],
  );
  assert.match(String(seen.stack), /log-output\.test/);
  const why = seen.cause as Record<string, unknown>;
  assert.deepEqual([why.type, why.message, why.code], ['Error', 'refused', 'ECONNREFUSED']);
});

test('secrets are hidden, however deep; what cannot be written does not throw', async () => {
  const ring: Record<string, unknown> = {};
  ring.ring = ring;
  const lines = await written('info', log => {
    log.info({ password: 'p', to: [{ at: { connectionString: 'p', apiKey: 'p', host: 'h' } }] }, 'one');
    log.info({ ring }, 'two');
  });
  const at = { connectionString: '[hidden]', apiKey: '[hidden]', host: 'h' };
  assert.deepEqual(lines[0], { level: 30, password: '[hidden]', to: [{ at }], msg: 'one' });
  assert.equal(lines[1]!.msg, 'two');
  assert.match(String(lines[1]!.unwritten), /circular/);
});
