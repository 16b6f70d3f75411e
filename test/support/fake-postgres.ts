/** A unix socket that takes PostgreSQL clients and follows a script. It keeps what it was sent. */
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  authenticationOk,
  backendKeyData,
  fatal,
  readStartup,
  readyForQuery,
  startupMessage,
} from './pg-frames.ts';
import { tempDir } from './temp.ts';

export type FakePostgres = AsyncDisposable & {
  readonly socket: string;
  readonly startups: readonly ReturnType<typeof readStartup>[];
  readonly cancels: readonly Buffer[];
  /** Connections that are open now. */
  readonly clients: ReadonlySet<Socket>;
};

/** Completes the login at once and then sends back whatever it gets. */
export const echo =
  (pid = 1, secret: Buffer = Buffer.from('abcd')) =>
  (client: Socket): void => {
    client.write(Buffer.concat([authenticationOk(), backendKeyData(pid, secret), readyForQuery()]));
    client.pipe(client);
  };

/** Takes the login, never answers and hangs up when the other side does. */
export const mute = (client: Socket): void => {
  client.resume();
  client.on('end', () => client.end());
};

/** What PostgreSQL says until it lets anybody in. */
export const starting = fatal('57P03', 'the database system is starting up');

/** In front of a real server, which sends away as one that is just starting does, `times` logins by name. */
export async function startingPostgres(real: string, times: Record<string, number>): Promise<FakePostgres> {
  const fake: FakePostgres = await fakePostgres(client => {
    const params = Object.fromEntries(fake.startups.at(-1)!.params);
    const { user = '' } = params;
    times[user] = (times[user] ?? 0) - 1;
    if (times[user] >= 0) return void client.end(starting);
    const server = connect(real);
    server.on('error', () => client.destroy());
    server.write(startupMessage(params));
    client.pipe(server).pipe(client);
  });
  return fake;
}

/** @param script runs for every client once its StartupMessage is there; the client is paused then. */
export async function fakePostgres(script: (client: Socket) => void = echo()): Promise<FakePostgres> {
  const dir = await tempDir();
  const socket = join(dir.path, 'pg.sock');
  const startups: ReturnType<typeof readStartup>[] = [];
  const cancels: Buffer[] = [];
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, client => {
    clients.add(client);
    client.on('error', () => {});
    client.on('close', () => clients.delete(client));
    let bytes = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 8 || bytes.length < bytes.readInt32BE(0)) return;
      client.off('data', onData);
      client.pause();
      const size = bytes.readInt32BE(0);
      const packet = bytes.subarray(0, size);
      if (packet.readInt32BE(4) === 80877102) {
        cancels.push(packet);
        client.end();
        return;
      }
      startups.push(readStartup(packet));
      if (bytes.length > size) client.unshift(bytes.subarray(size));
      script(client);
    };
    client.on('data', onData);
  });
  await new Promise<void>(done => server.listen(socket, done));
  return {
    socket,
    startups,
    cancels,
    clients,
    async [Symbol.asyncDispose]() {
      const closed = new Promise(done => server.close(done));
      for (const client of clients) client.destroy();
      await closed;
      await dir[Symbol.asyncDispose]();
    },
  };
}
