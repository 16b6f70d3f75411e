/**
 * Watching by server-sent events. Every event's id is the store's version, so a client that lost the
 * connection goes on with `Last-Event-ID`; when that is too long ago it gets everything again after `reset`.
 */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Change, Kind, Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { branchView, manifestView, pluginView, projectView, sandboxView } from './views.ts';

/** Kinds that may be watched; keys and images are nobody's business. */
const watchable = ['project', 'branch', 'sandbox', 'plugin', 'manifest'] as const;

const watchQuery = z.strictObject({ kind: z.enum(watchable).optional(), name: z.string().optional() });

/** A client that reads this much slower than we write is cut off; it may resume. Bytes. */
const maxBuffered = 1024 * 1024;
const heartbeatMs = 15_000;

export function watchRoutes(app: FastifyInstance, { store }: ApiContext): void {
  const view = (object: Stored<Kind>): unknown => {
    switch (object.kind) {
      case 'project':
        return projectView(store, object as Stored<'project'>);
      case 'branch':
        return branchView(store, object as Stored<'branch'>);
      case 'sandbox':
        return sandboxView(object as Stored<'sandbox'>);
      case 'plugin':
        return pluginView(store, object as Stored<'plugin'>);
      case 'manifest':
        return manifestView(object as Stored<'manifest'>);
      default:
        return undefined;
    }
  };

  app.get('/watch', (request, reply) => {
    const { kind, name } = checked(watchQuery, request.query);
    const wanted = (c: Change) =>
      (watchable as readonly Kind[]).includes(c.kind) &&
      (kind === undefined || c.kind === kind) &&
      (name === undefined || c.name === name);
    const last = request.headers['last-event-id'];
    const from = typeof last === 'string' && /^\d{1,15}$/.test(last) ? Number(last) : undefined;
    const missed = from === undefined ? undefined : store.since(from);

    reply.hijack();
    const out = reply.raw;
    out.on('error', () => {});
    out.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const send = (event: string, id: number, data: unknown) => {
      out.write(`event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`);
      if (out.writableLength > maxBuffered) out.destroy();
    };
    const sendChange = (change: Change) => {
      if (!wanted(change)) return;
      const { type } = change;
      if (type === 'put')
        send('put', change.object.version, {
          kind: change.kind,
          name: change.name,
          object: view(change.object),
        });
      else if (type === 'gone') send('gone', change.version, { kind: change.kind, name: change.name });
      else send('event', change.event.version, change.event);
    };
    if (missed === undefined) {
      send('reset', store.version(), {});
      for (const k of watchable) {
        for (const object of store.list(k)) sendChange({ type: 'put', kind: k, name: object.name, object });
      }
      send('synced', store.version(), {});
    } else {
      for (const change of missed) sendChange(change);
    }
    const stop = store.onChange(sendChange);
    const heartbeat = setInterval(() => out.write(': still here\n\n'), heartbeatMs);
    out.on('close', () => {
      stop();
      clearInterval(heartbeat);
    });
  });
}
