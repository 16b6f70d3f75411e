/** Reading logs, also while they are written. */
import { OffshootError } from '../model/errors.ts';
import type { LogLineView } from '../model/view.ts';
import { type Connection, send } from './http.ts';

/** See api/logs.ts. */
export type LogFilter = {
  /** Selectors, see model/program-selector.ts; none: all of the baseline and of the sandboxes. */
  readonly of?: readonly string[];
  readonly namespace?: string | undefined;
  readonly project?: string | undefined;
  readonly container?: string | undefined;
  /** Of each program; default 200, or with `since` 10 000. */
  readonly lines?: number | undefined;
  /** RFC 3339. */
  readonly since?: string | undefined;
  readonly timestamps?: boolean;
  readonly follow?: boolean;
  readonly previous?: boolean;
};

/**
 * @throws OffshootError as `send`; api/unreachable when the server goes away while it is followed; the signal's reason
 */
export async function* logs(
  connection: Connection,
  filter: LogFilter,
  signal: AbortSignal,
): AsyncGenerator<LogLineView, void> {
  const answer = await send(connection, 'GET', '/api/v1/logs', { query: filter, signal });
  let held = '';
  answer.setEncoding('utf8');
  try {
    for await (const chunk of answer) {
      const lines = (held + chunk).split('\n');
      held = lines.pop()!;
      // An empty one says that the server is still there.
      for (const line of lines) if (line !== '') yield JSON.parse(line) as LogLineView;
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw new OffshootError('api/unreachable', { url: connection.url }, { cause });
  }
  signal.throwIfAborted();
  if (filter.follow) throw new OffshootError('api/unreachable', { url: connection.url });
}
