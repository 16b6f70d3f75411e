/**
 * An API server of Kubernetes in memory, on loopback: resource versions, uids, generations, conflicts, finalizers, the
 * status subresource, owner references, pages, watches with bookmarks, a history that can be cut. It knows every group and
 * kind and checks no schema. What it can be told to do wrong is what real ones, and what stands before them, do.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { ClusterAccess } from '../../src/kubernetes/access.ts';
import type { KubernetesObject } from '../../src/kubernetes/resource.ts';

type Mutable = {
  metadata: {
    name: string;
    namespace?: string;
    resourceVersion?: string;
    generation?: number;
    deletionTimestamp?: string;
    finalizers?: readonly string[];
    [field: string]: unknown;
  };
  [field: string]: unknown;
};

/** Status and body. */
type Said = readonly [number, unknown];

export type Asked = {
  readonly method: string;
  /** `plural`, or `plural.group` */
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
  readonly watch: boolean;
  readonly body: KubernetesObject | undefined;
};

/** What to do instead of what is asked for. `hang`: never answer. `cut`: close the connection. */
export type Fault =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | { readonly raw: string }
  /** Do it, and close the connection instead of answering. */
  | 'done, then cut'
  | 'hang'
  | 'cut';

export type FakeApiServer = AsyncDisposable & {
  readonly access: ClusterAccess;
  readonly port: number;
  /** Requests so far, e.g. `PUT sandboxes.offshoot.dev/status x`. */
  readonly asked: string[];
  /** Asked of each request before it is answered. */
  fault: ((asked: Asked) => Fault | undefined | Promise<Fault | undefined>) | undefined;
  /** As somebody else does it. */
  put(resource: string, object: object): KubernetesObject;
  remove(resource: string, key: string): void;
  get(resource: string, key: string): KubernetesObject | undefined;
  all(resource: string): readonly KubernetesObject[];
  readonly version: number;
  /** Watches that are open. */
  readonly watches: number;
  bookmark(): void;
  /** Forgets what happened: watches and pages from before are told 410. */
  compact(): void;
  /** Ends all watches: properly, by closing the connection, or after a text. */
  endWatches(
    how: 'properly' | 'cut' | { readonly text: string; readonly and?: 'cut' | 'properly' | 'nothing' },
  ): void;
  /** Open watches are told nothing any more, and keep their connections. */
  muteWatches(): void;
  /** Everything is as it was at that version, and counting goes on from there. */
  restore(snapshot: Snapshot): void;
  snapshot(): Snapshot;
};

export type Snapshot = { readonly version: number; readonly objects: ReadonlyMap<string, KubernetesObject> };

type Happened = {
  readonly version: number;
  readonly resource: string;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: KubernetesObject;
};

type Watcher = {
  readonly answer: ServerResponse;
  readonly wants: (resource: string, object: KubernetesObject) => boolean;
  muted: boolean;
};

/** Kinds that have a status of their own to write. */
const withStatus = new Set(['sandboxes.offshoot.dev', 'branches.offshoot.dev', 'deployments.apps']);

export async function fakeApiServer(): Promise<FakeApiServer> {
  let version = 100;
  let forgotten = 0;
  let objects = new Map<string, KubernetesObject>();
  let history: Happened[] = [];
  const watchers = new Set<Watcher>();
  const pages = new Map<string, { readonly items: readonly KubernetesObject[]; readonly version: number }>();
  const asked: string[] = [];

  const keyOf = (resource: string, { metadata: { namespace = '', name } }: KubernetesObject) =>
    `${resource} ${namespace}/${name}`;

  function happen(type: Happened['type'], resource: string, object: Mutable): KubernetesObject {
    version += 1;
    object.metadata.resourceVersion = String(version);
    const done = structuredClone(object) as KubernetesObject;
    if (type === 'DELETED') objects.delete(keyOf(resource, done));
    else objects.set(keyOf(resource, done), done);
    history.push({ version, resource, type, object: done });
    for (const watcher of watchers) tell(watcher, { type, resource, object: done });
    if (type === 'DELETED') collect(done);
    return done;
  }

  function tell(
    { answer, wants, muted }: Watcher,
    { type, resource, object }: Omit<Happened, 'version'>,
  ): void {
    if (!muted && wants(resource, object)) answer.write(`${JSON.stringify({ type, object })}\n`);
  }

  /** What it owned goes, too, a little later. */
  function collect({ metadata: { uid } }: KubernetesObject): void {
    setImmediate(() => {
      for (const [key, object] of objects) {
        const owners = object.metadata.ownerReferences ?? [];
        if (owners.some(owner => owner.uid === uid)) end(key.slice(0, key.indexOf(' ')), object);
      }
    });
  }

  function make(resource: string, given: KubernetesObject): KubernetesObject {
    const object = structuredClone(given) as Mutable;
    if (withStatus.has(resource)) delete object.status;
    Object.assign(object.metadata, {
      ...{ uid: randomUUID(), creationTimestamp: seconds() },
      ...(object.spec !== undefined && { generation: 1 }),
    });
    delete object.metadata.deletionTimestamp;
    return happen('ADDED', resource, object);
  }

  function change(
    resource: string,
    before: KubernetesObject,
    given: KubernetesObject,
    part?: string,
  ): KubernetesObject {
    const next = structuredClone(part === 'status' ? before : given) as Mutable;
    if (part === 'status') next.status = structuredClone(given.status);
    else if (withStatus.has(resource)) next.status = before.status;
    if (next.status === undefined || next.status === null) delete next.status;
    const { uid, creationTimestamp, deletionTimestamp, generation, resourceVersion } = before.metadata;
    Object.assign(next.metadata, { uid, creationTimestamp, resourceVersion });
    for (const [field, value] of Object.entries({ deletionTimestamp, generation })) {
      if (value === undefined) delete next.metadata[field];
      else next.metadata[field] = value;
    }
    if (generation !== undefined && !isDeepStrictEqual(next.spec, before.spec))
      next.metadata.generation = generation + 1;
    if (deletionTimestamp !== undefined && (next.metadata.finalizers ?? []).length === 0)
      return happen('DELETED', resource, next);
    // A write that changes nothing is none.
    return isDeepStrictEqual(next, before) ? before : happen('MODIFIED', resource, next);
  }

  function end(resource: string, before: KubernetesObject): KubernetesObject {
    const object = structuredClone(before) as Mutable;
    if ((object.metadata.finalizers ?? []).length === 0) return happen('DELETED', resource, object);
    if (object.metadata.deletionTimestamp !== undefined) return before;
    object.metadata.deletionTimestamp = seconds();
    if (object.metadata.generation !== undefined) object.metadata.generation += 1;
    return happen('MODIFIED', resource, object);
  }

  function list(a: Asked): Said {
    const limit = Number(a.query.get('limit') ?? Number.POSITIVE_INFINITY);
    const token = a.query.get('continue');
    const [id, from] = token === null ? [undefined, 0] : [token.split(' ')[0]!, Number(token.split(' ')[1])];
    const known = id === undefined ? undefined : pages.get(id);
    if (id !== undefined && known === undefined) return [410, status(410, 'Expired', 'the page is too old')];
    const all = [...objects].filter(
      ([key, object]) => key.startsWith(`${a.resource} `) && selected(a, object),
    );
    const items = known?.items ?? all.sort(([x], [y]) => (x < y ? -1 : 1)).map(([, object]) => object);
    const of = known?.version ?? version;
    const rest = from + limit < items.length;
    const next = rest ? (id ?? randomUUID()) : undefined;
    if (next !== undefined) pages.set(next, { items, version: of });
    const body = {
      kind: 'List',
      apiVersion: 'v1',
      metadata: { resourceVersion: String(of), ...(next && { continue: `${next} ${from + limit}` }) },
      items: items.slice(from, from + limit),
    };
    return [200, body];
  }

  function watch(a: Asked, answer: ServerResponse): void {
    const from = Number(a.query.get('resourceVersion'));
    if (from < forgotten) {
      say(answer, 410, status(410, 'Expired', 'too old resource version'));
      return;
    }
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.flushHeaders();
    const wants = (resource: string, object: KubernetesObject) =>
      resource === a.resource && selected(a, object);
    const watcher: Watcher = { answer, wants, muted: false };
    for (const one of history) if (one.version > from) tell(watcher, one);
    watchers.add(watcher);
    answer.on('close', () => watchers.delete(watcher));
    answer.on('error', () => {});
  }

  function write(a: Asked): Said {
    const body = a.body!;
    const object =
      a.method === 'DELETE'
        ? undefined
        : ({
            ...body,
            metadata: { ...body.metadata, ...(a.namespace && { namespace: a.namespace }) },
          } as KubernetesObject);
    if (a.method === 'POST') {
      if (objects.has(keyOf(a.resource, object!)))
        return [409, status(409, 'AlreadyExists', `${a.resource} "${object!.metadata.name}" already exists`)];
      return [201, make(a.resource, object!)];
    }
    const before = objects.get(`${a.resource} ${a.namespace ?? ''}/${a.name}`);
    if (before === undefined) {
      if (a.method === 'PATCH') return [201, make(a.resource, object!)];
      return [404, status(404, 'NotFound', `${a.resource} "${a.name}" not found`)];
    }
    if (a.method === 'DELETE') {
      const { uid, resourceVersion } =
        (body as { preconditions?: Record<string, string> }).preconditions ?? {};
      const other =
        (uid !== undefined && uid !== before.metadata.uid) ||
        (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion);
      if (other) return [409, status(409, 'Conflict', 'the precondition does not hold')];
      return [200, end(a.resource, before)];
    }
    if (a.method === 'PATCH')
      return [200, change(a.resource, before, merged(before, object!) as KubernetesObject)];
    const { resourceVersion, uid } = object!.metadata;
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
      return [409, status(409, 'Conflict', 'the object has been modified')];
    if (uid !== undefined && uid !== before.metadata.uid)
      return [409, status(409, 'Conflict', 'the uid is that of another')];
    if (before.immutable === true && !isDeepStrictEqual(before.data, object!.data))
      return [422, status(422, 'Invalid', 'it is immutable')];
    return [200, change(a.resource, before, object!, a.subresource)];
  }

  async function serve(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const a = await asks(request);
    const parts = [a.resource + (a.subresource ? `/${a.subresource}` : ''), ...(a.name ? [a.name] : [])];
    asked.push([a.watch ? 'WATCH' : a.method, ...parts].join(' '));
    const fault = await self.fault?.(a);
    if (fault === 'hang') return;
    // After this, answers go nowhere.
    if (fault === 'cut' || fault === 'done, then cut') request.socket.destroy();
    if (fault === 'cut') return;
    if (typeof fault === 'object' && 'raw' in fault) request.socket.end(fault.raw);
    else if (typeof fault === 'object')
      say(answer, fault.status, fault.body ?? status(fault.status, 'Fault', 'a fault'), fault.headers);
    else if (a.watch) watch(a, answer);
    else say(answer, ...answerTo(a));
  }

  function answerTo(a: Asked): Said {
    if (a.method !== 'GET') return write(a);
    if (a.name === undefined) return list(a);
    const found = objects.get(`${a.resource} ${a.namespace ?? ''}/${a.name}`);
    return found === undefined
      ? [404, status(404, 'NotFound', `${a.resource} "${a.name}" not found`)]
      : [200, found];
  }

  const server = createServer((request, answer) => {
    answer.on('error', () => {});
    serve(request, answer).catch(error => say(answer, 500, status(500, 'InternalError', String(error))));
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;

  const self: FakeApiServer = {
    port,
    asked,
    fault: undefined,
    access: { server: `http://127.0.0.1:${port}`, namespace: 'offshoot' },
    put(resource, object) {
      const given = object as KubernetesObject;
      const before = objects.get(keyOf(resource, given));
      if (before === undefined) {
        const made = make(resource, given);
        return given.status === undefined || made.status !== undefined
          ? made
          : change(resource, made, given, 'status');
      }
      const next = change(resource, before, given);
      return given.status === undefined || !withStatus.has(resource)
        ? next
        : change(resource, next, given, 'status');
    },
    remove(resource, key) {
      const object = objects.get(`${resource} ${key}`);
      if (object !== undefined) end(resource, object);
    },
    get: (resource, key) => objects.get(`${resource} ${key}`),
    all: resource =>
      [...objects].filter(([key]) => key.startsWith(`${resource} `)).map(([, object]) => object),
    get version() {
      return version;
    },
    get watches() {
      return watchers.size;
    },
    bookmark() {
      const line = `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(version) } } })}\n`;
      for (const { answer, muted } of watchers) if (!muted) answer.write(line);
    },
    compact() {
      forgotten = version + 1;
      version += 1;
      history = [];
      pages.clear();
    },
    endWatches(how) {
      for (const watcher of watchers) {
        const { answer } = watcher;
        watchers.delete(watcher);
        if (typeof how === 'object') answer.write(how.text);
        const and = typeof how === 'object' ? (how.and ?? 'cut') : how;
        if (and === 'properly') answer.end();
        // What was written must get there first.
        if (and === 'cut') answer.write('', () => setImmediate(() => answer.socket?.destroy()));
      }
    },
    muteWatches() {
      for (const watcher of watchers) watcher.muted = true;
    },
    snapshot: () => ({ version, objects: new Map(objects) }),
    restore(snapshot) {
      version = snapshot.version;
      objects = new Map(snapshot.objects);
      history = [];
      forgotten = 0;
      pages.clear();
      self.endWatches('cut');
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
  return self;
}

// --- internal -----------------------------------------------------------------------------------

const seconds = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

const status = (code: number, reason: string, message: string) => ({
  ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' },
  ...{ code, reason, message },
});

function say(
  answer: ServerResponse,
  code: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (answer.destroyed || answer.headersSent) return;
  answer.writeHead(code, { 'content-type': 'application/json', ...headers });
  answer.end(JSON.stringify(body));
}

async function asks(request: IncomingMessage): Promise<Asked> {
  const url = new URL(request.url!, 'http://x');
  const parts = url.pathname.split('/').slice(1).map(decodeURIComponent);
  const group = parts.shift() === 'api' ? undefined : parts.shift();
  parts.shift();
  const namespace = parts[0] === 'namespaces' && parts.length > 2 ? parts.splice(0, 2)[1] : undefined;
  const [plural, name, subresource] = parts;
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  return {
    method: request.method!,
    resource: group === undefined ? plural! : `${plural}.${group}`,
    ...{ namespace, name, subresource, query: url.searchParams },
    watch: url.searchParams.get('watch') === 'true',
    body: text === '' ? undefined : JSON.parse(text),
  };
}

/** Of labels and fields: `a`, `!a`, `a=b` and `a!=b`. */
function selected({ namespace, query }: Asked, object: KubernetesObject): boolean {
  if (namespace !== undefined && object.metadata.namespace !== namespace) return false;
  const holds = (selector: string | null, value: (field: string) => unknown) =>
    (selector ?? '').split(',').every(term => {
      const [, no = '', field = '', sign, wanted] = /^(!?)([^=!]*)(!?=)?(.*)$/.exec(term)!;
      if (term === '') return true;
      const found = value(field);
      if (sign === undefined) return (found === undefined) === (no === '!');
      return (found === wanted) === (sign === '=');
    });
  return (
    holds(query.get('labelSelector'), label => object.metadata.labels?.[label]) &&
    holds(query.get('fieldSelector'), field =>
      field.split('.').reduce<unknown>((part, name) => (part as Record<string, unknown>)?.[name], object),
    )
  );
}

/** RFC 7386, which is what applying comes to where nobody else owns a field. */
function merged(before: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const next: Record<string, unknown> = { ...(before as Record<string, unknown>) };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete next[name];
    else next[name] = merged(next[name], value);
  }
  return next;
}
