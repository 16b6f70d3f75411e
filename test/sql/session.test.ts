/** What a session does when its server behaves as none should; with real ones it is tested in test/cli/commands/sql.test.ts. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { until } from '../../src/lib/wait.ts';
import { nowhere, openSession } from '../../src/sql/session.ts';
import { int32 } from '../support/pg-frames.ts';
import { scriptedPostgres } from '../support/scripted-postgres.ts';

const urlOf = (port: number): string => `postgresql://u:p@127.0.0.1:${port}/d`;
const quiet = { onNotice: () => {} };

test('a server that neither ends a statement nor lets go is left', { timeout: 30_000 }, async () => {
  const leaving = new AbortController();
  await using server = await scriptedPostgres(() => leaving.abort(new Error('Ctrl-C')));
  const session = await openSession(urlOf(server.port), leaving.signal, quiet);
  await assert.rejects(session.run(Buffer.from('SELECT 1'), nowhere), /Ctrl-C/);
  await session.close();
});

test('a message longer than any, or shorter than its own length, is not waited for', async () => {
  for (const length of [3, -1]) {
    await using server = await scriptedPostgres(client =>
      client.write(Buffer.concat([Buffer.from('D'), int32(length)])),
    );
    const session = await openSession(urlOf(server.port), AbortSignal.timeout(10_000), quiet);
    await assert.rejects(session.run(Buffer.from('SELECT 1'), nowhere), {
      code: 'sql/failed',
      message: /what is no message/,
    });
    await session.close();
  }
});

test('a session that cannot be made read only is none, and leaves no connection', async () => {
  let client: Socket | undefined;
  await using server = await scriptedPostgres(from => {
    client = from;
    from.write(Buffer.concat([Buffer.from('D'), int32(-1)]));
  });
  const opening = openSession(urlOf(server.port), AbortSignal.timeout(10_000), { ...quiet, readOnly: true });
  await assert.rejects(opening, { code: 'sql/failed' });
  await until(() => client!.readableEnded || undefined, { what: 'it has left', deadlineMs: 5_000 });
});
