/** SQL over HTTP before a server of which not everything is true. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { socketPair } from '../../../src/lib/socket-pair.ts';
import { encodeMessage } from '../../../src/proxy/postgres/messages.ts';
import { runSql } from '../../../src/proxy/sql/run.ts';

const int = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};

test('a value that is too long is not put together: a proxy could die of it', async () => {
  const [server, client] = socketPair('127.0.0.1');
  server.on('error', () => {});
  let sent = 0;
  const serve = async () => {
    await once(server, 'data');
    server.write(Buffer.concat([encodeMessage('R', int(0)), encodeMessage('Z', Buffer.from('I'))]));
    await once(server, 'data');
    server.write(Buffer.concat([encodeMessage('1', Buffer.alloc(0)), encodeMessage('2', Buffer.alloc(0))]));
    const value = Buffer.concat([Buffer.from('D'), int(1 << 30), Buffer.from([0, 1]), int((1 << 30) - 10)]);
    for (let chunk = value; sent < 20e6 && !server.destroyed; chunk = Buffer.alloc(64 * 1024, 'x')) {
      sent += chunk.length;
      await new Promise(resolve => server.write(chunk, resolve));
    }
    server.end();
  };
  const asked = {
    login: { user: 'app', password: 'x', database: 'app', options: undefined, applicationName: undefined },
    statements: [{ text: "select repeat('x', 1 << 30)", values: [], asArray: false }],
    ...{ begin: undefined, rawText: false },
  };
  const limits = { statementMs: 60_000, loginMs: 60_000, answerBytes: 10_000 };
  const run = runSql(asked, () => client, limits, AbortSignal.timeout(60_000));
  await Promise.all([assert.rejects(run, { code: 'sql/answer-too-large' }), serve()]);
  assert.ok(sent < 2e6, `${sent} bytes were taken`);
});
