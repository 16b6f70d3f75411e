/** One watch: lines of JSON until the server ends it, or until it is broken in one of many ways. */
import type { IncomingMessage } from 'node:http';
import { turn } from '../lib/turns.ts';
import { OffshootError } from '../model/errors.ts';
import { refused } from './client.ts';
import { describe, type KubernetesObject, type Resource } from './resource.ts';

export type WatchEvent = {
  /** BOOKMARK: nothing has happened up to this resourceVersion. */
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  readonly object: KubernetesObject;
};

export type WatchOptions = {
  readonly resource: Resource;
  readonly place: { readonly namespace?: string };
  /** Milliseconds of silence after which nobody is believed to be there. */
  readonly idleMs: number;
  /** Bytes of one line. An object has 1.5 MB at most (etcd's limit), its JSON may be longer. */
  readonly longestLine?: number;
  readonly onEvent: (event: WatchEvent) => void;
  /** Something came. */
  readonly onHeard?: () => void;
};

/**
 * Reads `answer` until its end; resolves when the server ends it properly.
 * @throws OffshootError kubernetes/unreachable (cut, silent, or not what a server says), kubernetes/too-long, and what an
 *   ERROR event says: kubernetes/expired above all
 */
export async function readWatch(answer: IncomingMessage, options: WatchOptions): Promise<void> {
  const { resource, place, idleMs, longestLine = 16 * 2 ** 20, onEvent, onHeard } = options;
  const params = { verb: 'watch', what: describe(resource, place) };
  const broken = (why: string, cause?: unknown) =>
    new OffshootError('kubernetes/unreachable', { ...params, why }, { cause });
  const silent = setTimeout(() => answer.destroy(broken(`nothing came for ${idleMs} ms`)), idleMs);
  /** The beginning of a line whose end has not come. */
  let open: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      silent.refresh();
      onHeard?.();
      let from = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        const line = Buffer.concat([...open, chunk.subarray(from, end)]);
        [open, length, from] = [[], 0, end + 1];
        if (line.length > 0) onEvent(eventOf(line, options, broken));
        await turn();
      }
      if (from < chunk.length) {
        open.push(chunk.subarray(from));
        length += chunk.length - from;
      }
      if (length > longestLine)
        throw new OffshootError('kubernetes/too-long', { ...params, most: longestLine });
    }
  } catch (error) {
    throw error instanceof OffshootError
      ? error
      : broken((error as NodeJS.ErrnoException).code ?? String(error), error);
  } finally {
    clearTimeout(silent);
    answer.destroy();
  }
  if (length > 0) throw broken('it ended in the middle of a line');
}

// --- internal -----------------------------------------------------------------------------------

const types = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']);

function eventOf(
  line: Buffer,
  { resource, place }: WatchOptions,
  broken: (why: string, cause?: unknown) => OffshootError,
): WatchEvent {
  let event: { type?: string; object?: { code?: number; metadata?: { resourceVersion?: string } } };
  try {
    event = JSON.parse(line.toString());
  } catch (cause) {
    throw broken('a line is no JSON', cause);
  }
  const { type, object } = event ?? {};
  if (type === 'ERROR') {
    const body = Buffer.from(JSON.stringify(object ?? {}));
    throw refused({ status: object?.code ?? 500, body }, { verb: 'watch', resource, place });
  }
  if (!types.has(type ?? '') || typeof object?.metadata?.resourceVersion !== 'string')
    throw broken('a line is no event');
  return event as WatchEvent;
}
