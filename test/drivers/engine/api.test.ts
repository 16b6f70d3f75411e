/** Answers that no engine should give; with engines it is tested in engines.test.ts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { join } from 'node:path';
import { it } from 'node:test';
import { EngineRefusal, engineApi } from '../../../src/drivers/engine/api.ts';
import { tempDir } from '../../support/temp.ts';

const { signal } = new AbortController();

async function engineWith(answer: RequestListener) {
  const stack = new AsyncDisposableStack();
  const socket = join(stack.use(await tempDir()).path, 's');
  const server = createServer(answer).listen(socket);
  await once(server, 'listening');
  stack.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  return { api: engineApi(socket), [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

it('takes more output than there may be for an answer, which is not asked for again', async () => {
  await using engine = await engineWith((request, response) =>
    response.end(request.url!.endsWith('/start') ? Buffer.alloc(9 * 2 ** 20) : '{"Id":"e"}'),
  );
  await assert.rejects(engine.api.exec('c', ['yes'], 10_000, signal), EngineRefusal);
});

it('hangs up when a pull has failed', { timeout: 30_000 }, async () => {
  const left = Promise.withResolvers<void>();
  await using engine = await engineWith((_, response) => {
    response.on('close', left.resolve);
    response.write('{"error":"no such image"}\n');
  });
  await assert.rejects(
    engine.api.pull('a', signal, () => {}),
    /no such image/,
  );
  await left.promise;
});
