/** Clients of chat.ts: such as stay for long, and such as come all the time and note everything that goes wrong. */
import { once } from 'node:events';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import type { Address } from '../../src/model/route.ts';
import { chatMethods } from './chat-methods.ts';

/** Where a Service is, and with which key it is asked. */
export type ChatWay = {
  readonly name: string;
  readonly web: Address;
  readonly grpc: Address;
  readonly key?: string;
};

/** One conversation. */
export type Talk = {
  /** @returns who answers. @throws when it is over, or nobody does within a minute */
  ask(): Promise<string>;
  /** Ends it, and waits for the other side to do so. @returns how it has ended: 1000 or 0 is well */
  end(): Promise<number>;
  /** It has ended, and how. */
  readonly ended: Promise<number>;
};

export type Talkers = {
  /** Who has answered, by what asks, in the order in which they were seen first. */
  readonly seen: Readonly<Record<string, readonly string[]>>;
  readonly failures: readonly string[];
  stop(): Promise<void>;
};

/** By WebSocket. @throws when it is refused */
export async function openSocket({ web, key }: ChatWay): Promise<Talk> {
  const socket = new WebSocket(`ws://${web.host}:${web.port}/`, {
    headers: baggage(key),
    handshakeTimeout: DEADLINE_MS,
  });
  const { promise: ended, resolve } = Promise.withResolvers<number>();
  socket.on('close', resolve);
  await once(socket, 'open');
  socket.on('error', () => {}); // "close" follows
  return {
    ended,
    ask: () =>
      answer(ended, resolve => {
        socket.once('message', data => resolve(String(data)));
        socket.send('who?');
      }),
    end() {
      socket.close(1000);
      return ended;
    },
  };
}

/** By a stream of gRPC, on a connection of its own. */
export async function openChat(way: ChatWay): Promise<Talk> {
  const client = clientOf(way);
  const talk = streamOf(client, way);
  void talk.ended.then(() => client.close());
  return talk;
}

/**
 * One client for each kind of question and way: WebSockets, calls and streams of gRPC on one connection that stays, and
 * calls on a new one each time.
 */
export function startTalkers(ways: readonly ChatWay[]): Talkers {
  const seen: Record<string, string[]> = {};
  const failures: string[] = [];
  let stopped = false;
  const keepAsking = async (name: string, ask: () => Promise<string>): Promise<void> => {
    const answers: string[] = [];
    seen[name] = answers;
    while (!stopped) {
      try {
        const who = await ask();
        if (!answers.includes(who)) answers.push(who);
      } catch (error) {
        failures.push(`${name}: ${(error as Error).message}`);
      }
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
  };
  const well = async (talk: Talk): Promise<string> => {
    const who = await talk.ask();
    const code = await talk.end();
    if (code !== 0 && code !== 1000) throw new Error(`it ended with ${code}`);
    return who;
  };
  const kept = ways.map(clientOf);
  const all = ways.flatMap((way, i) => [
    keepAsking(`${way.name}: WebSocket`, async () => await well(await openSocket(way))),
    keepAsking(`${way.name}: call`, () => call(kept[i]!, way)),
    keepAsking(`${way.name}: stream`, () => well(streamOf(kept[i]!, way))),
    keepAsking(`${way.name}: call on a new connection`, async () => {
      const client = clientOf(way);
      return await call(client, way).finally(() => client.close());
    }),
  ]);
  return {
    ...{ seen, failures },
    async stop() {
      stopped = true;
      await Promise.all(all);
      for (const client of kept) client.close();
    },
  };
}

// --- internal ---

const DEADLINE_MS = 60_000;
const PAUSE_MS = 10;

const baggage = (key: string | undefined): Record<string, string> =>
  key === undefined ? {} : { baggage: `sd-routing-key=${key}` };

/** Each with connections of its own. */
const clientOf = ({ grpc }: ChatWay): Client =>
  new Client(`${grpc.host}:${grpc.port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });

function metadataOf({ key }: ChatWay): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(baggage(key))) metadata.set(name, value);
  return metadata;
}

const call = (client: Client, way: ChatWay): Promise<string> =>
  new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = chatMethods.ask;
    client.makeUnaryRequest(
      ...([path, requestSerialize, responseDeserialize, 'who?', metadataOf(way)] as const),
      { deadline: Date.now() + DEADLINE_MS },
      (error, who) => (error ? reject(error) : resolve(who!)),
    );
  });

function streamOf(client: Client, way: ChatWay): Talk {
  const { path, requestSerialize, responseDeserialize } = chatMethods.chat;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadataOf(way));
  const { promise: ended, resolve } = Promise.withResolvers<number>();
  stream.on('error', () => {}); // its status follows
  stream.on('status', ({ code }) => resolve(code));
  stream.on('data', () => {});
  return {
    ended,
    ask: () =>
      answer(ended, resolve => {
        stream.once('data', resolve);
        stream.write('who?');
      }),
    end() {
      stream.end();
      return ended;
    },
  };
}

/** @param ask is to pass the answer on */
async function answer(
  ended: Promise<number>,
  ask: (resolve: (who: string) => void) => void,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error('nobody answers')), DEADLINE_MS);
  void ended.then(code => reject(new Error(`it has ended with ${code}`)));
  ask(resolve);
  return await promise.finally(() => clearTimeout(timer));
}
