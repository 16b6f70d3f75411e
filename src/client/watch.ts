/** Following objects: reconnects by itself, resumes where it was, ends with the signal. */
import type { Readable } from 'node:stream';
import { delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import type { EventView } from '../model/view.ts';
import { type Connection, send } from './http.ts';

export type WatchFilter = { readonly kind?: string; readonly name?: string };

export type WatchEvent<T> =
  | { readonly type: 'put'; readonly name: string; readonly object: T }
  | { readonly type: 'gone'; readonly name: string }
  /** What was told before counts no longer: all that is there is told (again), up to the next `synced`. */
  | { readonly type: 'reset' }
  | { readonly type: 'synced' }
  | { readonly type: 'event'; readonly event: EventView };

/**
 * Yields what is there now, then every change; after a long gap again what is there then.
 * @throws the signal's reason; errors of the request itself when they are final (4xx)
 */
export async function* watch<T>(
  connection: Connection,
  filter: WatchFilter,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>, never> {
  let lastId: string | undefined;
  for (let failures = 0; ; ) {
    try {
      const headers = lastId === undefined ? {} : { 'last-event-id': lastId };
      const answer = await send(connection, 'GET', '/api/v1/watch', {
        query: { ...filter },
        headers,
        signal,
      });
      if (!answer.headers['content-type']?.startsWith('text/event-stream')) {
        answer.destroy();
        throw new OffshootError('api/unreachable', { url: connection.url });
      }
      failures = 0;
      for await (const message of messages(answer)) {
        lastId = message.id ?? lastId;
        const event = toEvent<T>(message);
        if (event !== undefined) yield event;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof OffshootError && !error.row.retry) throw error;
      failures += 1;
    }
    // The daemon went away, or is being started again.
    await delay(Math.min(2_000, 50 * 2 ** failures), signal);
  }
}

type Message = { event?: string; id?: string; data: string };

/** Server-sent events (HTML Living Standard §9.2), as far as our server uses them. */
async function* messages(body: Readable): AsyncGenerator<Message> {
  let rest = '';
  body.setEncoding('utf8');
  for await (const chunk of body) {
    rest += chunk;
    const blocks = rest.split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const message: Message = { data: '' };
      for (const line of block.split('\n')) {
        const [, field, value = ''] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === 'data') message.data += value;
        else if (field === 'event') message.event = value;
        else if (field === 'id') message.id = value;
      }
      if (message.event !== undefined) yield message;
    }
  }
}

function toEvent<T>({ event, data }: Message): WatchEvent<T> | undefined {
  const body = JSON.parse(data);
  if (event === 'put') return { type: 'put', name: body.name, object: body.object };
  if (event === 'gone') return { type: 'gone', name: body.name };
  if (event === 'reset' || event === 'synced') return { type: event };
  if (event === 'event') return { type: 'event', event: body };
  return undefined;
}
