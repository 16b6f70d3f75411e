/**
 * Watching by server-sent events. An event's id is the store's version, so a client that lost the
 * connection goes on with `Last-Event-ID`. Without one, or when it is too long ago, everything that is there
 * is told between `reset` and `synced`; whoever loses the connection in between begins again, so what stands
 * there has no id.
 */
import { z } from 'zod';
import { inTurns } from '../lib/turns.ts';
import type { Change, Kind, Stored } from '../store/contract.ts';
import type { RouteContext } from './context.ts';
import { checked } from './input.ts';
import { keyOf } from './key-of.ts';
import { type Routes, taken } from './routes.ts';
import { branchView, manifestView, pluginView, projectView, sandboxView } from './views.ts';

/** Kinds that may be watched; keys and images are nobody's business. */
const watchable = ['project', 'branch', 'sandbox', 'plugin', 'manifest'] as const;

const watchQuery = z.strictObject({ kind: z.enum(watchable).optional(), name: z.string().optional() });

/** A client that reads this much slower than we write is cut off; it may resume. Bytes. */
const maxBuffered = 1024 * 1024;
const heartbeatMs = 15_000;

export function watchRoutes(
  routes: Routes,
  { store, baseline, keys, routed, keepRevoked, mask }: RouteContext,
): void {
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
        return manifestView({ store, baseline }, object as Stored<'manifest'>);
      default:
        return undefined;
    }
  };

  /** All that are there of a kind, or of all; the one of a name is not looked for among all others. */
  const objects = (kind: (typeof watchable)[number] | undefined, name: string | undefined): Change[] => {
    const kinds: readonly Kind[] = kind === undefined ? watchable : [kind];
    const found = kinds.flatMap(k =>
      name === undefined ? store.list(k) : [store.get(k, name) ?? []].flat(),
    );
    return found.map(object => ({ type: 'put', kind: object.kind, name: object.name, object }));
  };

  routes.get('/watch', async request => {
    const { kind, name } = checked(watchQuery, request.query);
    const wanted = (c: Change) =>
      (watchable as readonly Kind[]).includes(c.kind) &&
      (kind === undefined || c.kind === kind) &&
      (name === undefined || c.name === name);
    const last = request.headers['last-event-id'];
    const from = typeof last === 'string' && /^\d{1,15}$/.test(last) ? Number(last) : undefined;
    const missed = from === undefined ? undefined : store.since(from);
    const there = missed ?? objects(kind, name);
    const version = store.version();

    const out = request.response;
    out.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const send = (event: string, data: unknown, id?: number) =>
      out.write(
        `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(mask(data))}\n\n`,
      );
    const sendObject = (object: Stored<Kind>, id?: number) =>
      send('put', { kind: object.kind, name: object.name, object: view(object) }, id);
    const sendChange = (change: Change) => {
      if (!wanted(change)) return;
      const { type } = change;
      if (type === 'put') sendObject(change.object, change.object.version);
      else if (type === 'gone') send('gone', { kind: change.kind, name: change.name }, change.version);
      else send('event', change.event, change.event.version);
    };
    const sendThere = async (): Promise<void> => {
      await routed();
      if (missed === undefined) send('reset', {});
      await inTurns(there, change => {
        if (out.destroyed) return;
        if (missed !== undefined) sendChange(change);
        else if (change.type === 'put') sendObject(change.object);
      });
      if (missed === undefined) send('synced', {}, version);
      // What is there may be much, and is no sign of a slow reader.
      most = out.writableLength + maxBuffered;
    };
    let most = Number.POSITIVE_INFINITY;
    // Told in order, and when it is so: what is called ready can be reached.
    let told = sendThere().catch(err => void out.destroy(err));
    const stop = store.onChange(change => {
      if (!wanted(change)) return;
      told = told.then(routed).then(() => {
        if (out.destroyed) return;
        sendChange(change);
        if (out.writableLength > most) out.destroy();
      });
    });
    const key = keyOf(request);
    const stopRevoked =
      key === undefined || keepRevoked ? () => {} : keys.onRevoked(key, () => out.destroy());
    const heartbeat = setInterval(() => out.write(': still here\n\n'), heartbeatMs);
    out.on('close', () => {
      stop();
      stopRevoked();
      clearInterval(heartbeat);
    });
    return taken;
  });
}
