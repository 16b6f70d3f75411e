/** A source is somebody else's: what it says is not taken at its word. Whole copies are in test/e2e/import.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { relay } from '../../src/data/relay.ts';
import { openSource, type Session } from '../../src/data/session.ts';
import { int32 } from '../support/pg-frames.ts';
import { type ScriptedPostgres, scriptedPostgres } from '../support/scripted-postgres.ts';

const sessionWith = ({ port }: ScriptedPostgres): Promise<Session> =>
  openSource({ host: '127.0.0.1', port, user: 'u', database: 'd', sslmode: 'disable' }, 'p');

test('a row shorter than its own length, or a message longer than any, ends a copy', async () => {
  await using target = await scriptedPostgres(() => {});
  for (const sent of [
    Buffer.concat([Buffer.from('d'), int32(-1)]),
    Buffer.concat([Buffer.from('d'), int32(3)]),
    Buffer.concat([Buffer.from('N'), int32(2 ** 30)]),
  ]) {
    await using source = await scriptedPostgres(client => client.write(sent));
    const [from, to] = [await sessionWith(source), await sessionWith(target)];
    const copy = { out: 'COPY t TO STDOUT', in: 'COPY t FROM STDIN', signal: AbortSignal.timeout(10_000) };
    await assert.rejects(relay(from, to, copy), /what is no message/);
    await Promise.all([from.close(), to.close()]);
  }
});

test('a session with a server that does not let go is closed all the same', { timeout: 30_000 }, async () => {
  await using server = await scriptedPostgres(() => {});
  const session = await sessionWith(server);
  await session.close();
  assert.ok(session.client);
});
