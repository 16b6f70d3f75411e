import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { it } from 'node:test';
import { openSession } from '../../../src/drivers/postgres/session.ts';
import { fatal } from '../../support/pg-frames.ts';
import { testCtx } from '../../support/postgres.ts';
import { tempDir } from '../../support/temp.ts';

it('stops connecting when it is aborted, also when the server says nothing', async () => {
  await using dir = await tempDir();
  const abort = new AbortController();
  const stopped = new Error('stopped');
  await using server = createServer(socket => {
    socket.on('error', () => {});
    abort.abort(stopped);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(join(dir.path, '.s.PGSQL.5432'), resolve);
  await promise;
  const address = { id: 'b1', socketDir: dir.path, database: 'postgres', adminSecret: 'secret' };
  await assert.rejects(
    openSession(address, { ...testCtx(), signal: abort.signal }),
    error => error === stopped,
  );
});

it('says why a server that runs takes no sessions', async () => {
  await using dir = await tempDir();
  await using server = createServer(socket => {
    socket.on('error', () => {});
    socket.resume().end(fatal('57P03', 'the database system is in recovery mode'));
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(join(dir.path, '.s.PGSQL.5432'), resolve);
  await promise;
  const address = { id: 'b1', socketDir: dir.path, database: 'postgres', adminSecret: 'secret' };
  await assert.rejects(openSession(address, testCtx()), {
    code: 'postgres/not-running',
    message:
      'the PostgreSQL server of branch "b1" takes no sessions now: the database system is in recovery mode',
  });
});
