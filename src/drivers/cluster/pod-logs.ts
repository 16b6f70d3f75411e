/** What containers of pods have said, by the API server, which asks the pod's node. */
import type { IncomingMessage } from 'node:http';
import { type ClusterClient, isCode } from '../../kubernetes/client.ts';
import { channel } from '../../lib/channel.ts';
import type { LogLine, LogQuery } from '../../model/log.ts';
import type { Ctx } from '../contract.ts';

export type PodLogSource = {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  /** How often it was started again: each life has a log of its own. */
  readonly life: number;
};

/** Lines for a status. */
const LAST = 20;
const DEADLINE_MS = 5_000;
/** Characters of one line; the rest of it is left out. */
const LONGEST = 64 * 1024;

/** The last lines of a life; none when it cannot be told, for whatever reason: what is asked for is the cause of something else. */
export async function lastLines(
  client: ClusterClient,
  source: Omit<PodLogSource, 'life'> & { readonly previous: boolean },
  { signal, log }: Ctx,
  most = LAST,
): Promise<readonly string[]> {
  const { container, previous } = source;
  const query = { container, tailLines: most, ...(previous && { previous: 'true' as const }) };
  const limits = { signal: AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]) };
  try {
    return await Array.fromAsync(linesOf(await client.log(source, query, limits)));
  } catch (err) {
    log.debug({ err, pod: source.pod, container }, 'a log cannot be read');
    return [];
  }
}

/**
 * See WorkloadDriver.
 * @param sources those that there are at the moment
 * @param onSources tells that there may be others. @returns the way to stop that
 */
export async function* podLogLines(
  client: ClusterClient,
  sources: () => readonly PodLogSource[],
  onSources: (listener: () => void) => () => void,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void> {
  const { lines, previous, follow, since, timestamps } = query;
  const when = {
    ...(since !== undefined && { sinceTime: new Date(since).toISOString() }),
    ...(timestamps && { timestamps: 'true' as const }),
  };
  const wanted = () =>
    sources().filter(({ container }) => query.container === undefined || container === query.container);
  const keyOf = ({ pod, container, life }: PodLogSource) => `${pod}/${container}/${life}`;
  const read = async function* (source: PodLogSource, more: Parameters<ClusterClient['log']>[1]) {
    const { pod, container } = source;
    try {
      for await (const line of linesOf(await client.log(source, { ...when, ...more }, { signal }))) {
        const [, at, text = line] = (timestamps && /^(\S+) (.*)$/s.exec(line)) || [];
        yield { pod, container, ...(at !== undefined && { at }), text };
      }
    } catch (error) {
      // It has said nothing, or had no such life, or its pod has just gone.
      if (signal.aborted || isCode(error, 'kubernetes/invalid') || isCode(error, 'kubernetes/absent')) return;
      throw error;
    }
  };
  const before = wanted();
  if (!follow || previous) {
    if (lines === 0) return;
    for (const source of before)
      yield* read(source, {
        ...{ container: source.container, tailLines: lines },
        ...(previous && { previous: 'true' as const }),
      });
    return;
  }

  const all = channel<LogLine>();
  const followed = new Set<string>();
  const pump = async (source: PodLogSource, tailLines: number | undefined): Promise<void> => {
    const more = { container: source.container, follow: 'true' as const };
    for await (const line of read(source, { ...more, ...(tailLines !== undefined && { tailLines }) }))
      await all.give(line);
  };
  let failed: unknown;
  const begin = (source: PodLogSource, tailLines: number | undefined): void => {
    followed.add(keyOf(source));
    pump(source, tailLines).catch(error => {
      failed = error;
      all.end();
    });
  };
  for (const source of before) begin(source, lines);
  const stop = onSources(() => {
    for (const source of wanted()) if (!followed.has(keyOf(source))) begin(source, undefined);
  });
  signal.addEventListener('abort', all.end, { once: true });
  if (signal.aborted) all.end();
  try {
    yield* all;
    if (failed !== undefined && !signal.aborted) throw failed;
  } finally {
    stop();
    all.end();
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Lines of what `client.log` answers, until its end. */
export async function* linesOf(answer: IncomingMessage): AsyncGenerator<string, void> {
  let held = '';
  answer.setEncoding('utf8');
  try {
    for await (const chunk of answer as AsyncIterable<string>) {
      const lines = (held + chunk).split('\n');
      held = lines.pop()!.slice(0, LONGEST);
      for (const line of lines) yield line.slice(0, LONGEST);
    }
    if (held !== '') yield held;
  } finally {
    answer.destroy();
  }
}
