/**
 * What programs say: `GET /logs?of=…`, one JSON object a line (https://jsonlines.org), a LogLineView. Of each program the
 * newest lines, one after the other; with `follow` then every line as it comes, until the client leaves. An empty line says
 * that we are still there.
 */

import { once } from 'node:events';
import { z } from 'zod';
import { inLists, merge } from '../lib/channel.ts';
import { type LogQuery, timeInLog } from '../model/log.ts';
import { parseProgramSelector } from '../model/program-selector.ts';
import type { LogLineView } from '../model/view.ts';
import type { RouteContext } from './context.ts';
import { checked, flag } from './input.ts';
import { keyOf } from './key-of.ts';
import { type Program, programs } from './programs.ts';
import { type Routes, taken } from './routes.ts';

/** Whoever hears nothing for long believes that we hang. */
const heartbeatMs = 15_000;

const one = z.string().max(300);

/** Of each program. */
const MOST_LINES = 10_000;

const logQuery = z.strictObject({
  of: z.union([one.transform(of => [of]), z.array(one).max(100)]).default([]),
  namespace: one.optional(),
  project: one.optional(),
  container: one.optional(),
  /** Default: 200, or with `since` all. */
  lines: z.coerce.number().int().min(0).max(MOST_LINES).optional(),
  since: z.iso
    .datetime({ offset: true })
    .transform(text => Date.parse(text))
    .optional(),
  timestamps: flag,
  follow: flag,
  previous: flag,
});

export function logRoutes(routes: Routes, context: RouteContext): void {
  const { keys, keepRevoked, mask, log } = context;

  routes.get('/logs', async request => {
    const { of, namespace, project, container, since, timestamps, ...how } = checked(logQuery, request.query);
    const lines = how.lines ?? (since === undefined ? 200 : MOST_LINES);
    const sources = programs(context, of.map(parseProgramSelector), { namespace, project });
    const query: LogQuery = {
      ...{ ...how, lines },
      ...(container !== undefined && { container }),
      ...(since !== undefined && { since }),
      ...(timestamps && { timestamps }),
    };

    const out = request.response;
    const gone = new AbortController();
    out.on('close', () => gone.abort());
    const key = keyOf(request);
    const stopRevoked =
      key === undefined || keepRevoked ? () => {} : keys.onRevoked(key, () => out.destroy());
    out.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
    out.flushHeaders();
    const heartbeat = setInterval(() => out.write('\n'), heartbeatMs);
    try {
      const all = sources.map(program => said(context, program, query, gone.signal));
      for await (const lines of inLists(merge(all, { sideBySide: query.follow ?? false }))) {
        if (gone.signal.aborted) break;
        const text = lines.map(line => `${JSON.stringify(mask(line))}\n`).join('');
        // A client that reads slowly is waited for; what is followed waits too.
        if (!out.write(text)) await once(out, 'drain', { signal: gone.signal });
      }
      out.end();
    } catch (err) {
      if (!gone.signal.aborted) log.warn({ err }, 'cannot tell a log');
      out.destroy();
    } finally {
      clearInterval(heartbeat);
      gone.abort();
      stopRevoked();
    }
    return taken;
  });
}

// --- internal -----------------------------------------------------------------------------------

async function* said(
  { branches, programs }: RouteContext,
  program: Program,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLineView, void> {
  const { lines, follow = false, since, timestamps } = query;
  if (program.of === 'baseline') {
    const { kind, name, namespace } = program.workload;
    const names = { of: `${kind.toLowerCase()}/${name}`, namespace };
    for await (const line of programs.logs(program, query, signal)) yield { ...names, ...line };
  } else if (program.of === 'fork') {
    const of = `sandbox/${program.sandbox}/${program.workload.name}`;
    for await (const line of programs.logs(program, query, signal)) yield { of, ...line };
  } else if (program.of === 'migration') {
    const of = `migration/${program.sandbox.name}`;
    for await (const line of programs.migrationLogs(program.sandbox, query, signal)) yield { of, ...line };
  } else if (program.of === 'branch') {
    const { name, spec } = program.branch;
    let at: number | undefined;
    for await (const text of branches.logs(name, { lines, follow }, signal)) {
      at = timeInLog(text) ?? at; // further lines of a statement have none of their own
      if (since !== undefined && at !== undefined && at < since) continue;
      const time = timestamps && at !== undefined ? { at: new Date(at).toISOString() } : {};
      yield { of: `branch/${spec.name}`, ...time, text };
    }
  } else {
    const { name, output } = program;
    const of = `resource/${program.sandbox}/${name}`;
    for (const text of lines === 0 ? [] : output.slice(-lines)) yield { of, text };
  }
}
