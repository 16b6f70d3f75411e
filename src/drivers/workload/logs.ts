/** What the containers of a workload have said, and say. */

import { channel } from '../../lib/channel.ts';
import { logSize, type TimedLine, timedTail } from '../../lib/log-file.ts';
import { follow } from '../../lib/log-follow.ts';
import type { LogLine, LogQuery } from '../../model/log.ts';

export type LogSource = {
  /** Absent: it is none's. */
  readonly pod?: string;
  readonly container: string;
  readonly file: string;
  /** Byte of the file at which the life that the container has now began; the one before. */
  readonly start?: number | undefined;
  readonly before?: number | undefined;
};

/**
 * See WorkloadDriver.
 * @param sources those that there are at the moment
 * @param onSources tells that there may be others. @returns the way to stop that
 */
export async function* logLines(
  sources: () => readonly LogSource[],
  onSources: (listener: () => void) => () => void,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void> {
  const wanted = () =>
    sources().filter(({ container }) => query.container === undefined || container === query.container);
  const all = wanted();
  const followed = new Map(all.map(({ file }) => [file, logSize(file)]));
  for (const source of all)
    for (const { text, at } of await told(source, followed.get(source.file)!, query))
      yield { ...nameOf(source), ...timeOf(at, query), text };
  if (!query.follow) return;

  const lines = channel<LogLine>();
  const pump = async (source: LogSource, from: number): Promise<void> => {
    for await (const text of follow(source.file, from, signal))
      await lines.give({ ...nameOf(source), ...timeOf(Date.now(), query), text });
  };
  const begin = (source: LogSource, from: number): void => void pump(source, from).catch(() => lines.end());
  const beginNew = (): void => {
    for (const source of wanted()) {
      if (followed.has(source.file)) continue;
      followed.set(source.file, logSize(source.file)); // it has not been started yet
      begin(source, followed.get(source.file)!);
    }
  };
  for (const source of all) begin(source, followed.get(source.file)!);
  const stop = onSources(beginNew);
  beginNew();
  signal.addEventListener('abort', lines.end, { once: true });
  if (signal.aborted) lines.end();
  try {
    yield* lines;
  } finally {
    stop();
    lines.end();
  }
}

// --- internal -----------------------------------------------------------------------------------

const nameOf = ({ pod, container }: LogSource) => ({ ...(pod !== undefined && { pod }), container });

const timeOf = (at: number | undefined, { timestamps }: LogQuery) =>
  timestamps && at !== undefined ? { at: new Date(at).toISOString() } : {};

async function told(
  { file, start = 0, before }: LogSource,
  size: number,
  { lines, previous, since }: LogQuery,
): Promise<readonly TimedLine[]> {
  if (!previous) return await timedTail(file, lines, { to: size, since });
  // Of a file that was cut since, all that came before is in its older part.
  if (start > size) return await timedTail(`${file}.1`, lines, { since });
  return before === undefined ? [] : await timedTail(file, lines, { from: before, to: start, since });
}
