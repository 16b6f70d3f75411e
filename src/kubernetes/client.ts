/**
 * Calls to a cluster's API server. What it refuses is an error of model/errors/kubernetes.ts that names the verb and the
 * object as RBAC does. A `429` is waited out within the deadline, a token that is not taken is asked for once more; nothing
 * else is repeated here, because only who asked knows whether it may be. One file for all verbs: each is a few lines.
 */
import type { IncomingMessage } from 'node:http';
import { delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import type { ClusterAccess } from './access.ts';
import {
  describe,
  type KubernetesObject,
  type Place,
  pathOf,
  type Resource,
  resourceName,
  resources,
} from './resource.ts';
import { type Answer, type Sent, TooLongError, transportTo } from './transport.ts';

export type Limits = { readonly signal?: AbortSignal; readonly deadlineMs?: number };

export type Selection = { readonly labelSelector?: string; readonly fieldSelector?: string };

export type Page<O extends KubernetesObject = KubernetesObject> = {
  readonly items: readonly O[];
  /** Of the moment that the whole list is of. */
  readonly resourceVersion: string;
};

type Named = { readonly namespace?: string; readonly name: string };

export type ClusterClient = {
  /** Of the access. */
  readonly namespace: string;
  /** @returns undefined when it does not exist */
  get<O extends KubernetesObject>(resource: Resource, place: Named, limits?: Limits): Promise<O | undefined>;
  /**
   * All that are selected, page by page, all of one moment; the first page is smaller when it would be too long.
   * @throws OffshootError kubernetes/expired when it takes so long that the cluster has forgotten that moment
   */
  pages<O extends KubernetesObject>(
    resource: Resource,
    place: { readonly namespace?: string },
    selection?: Selection,
    limits?: Limits,
  ): AsyncGenerator<Page<O>>;
  /** The counter of the cluster's writes, as it is now. */
  now(resource: Resource, place: { readonly namespace?: string }, limits?: Limits): Promise<string>;
  /** @throws OffshootError kubernetes/conflict when the name is taken */
  create<O extends KubernetesObject>(resource: Resource, object: O, limits?: Limits): Promise<O>;
  /**
   * Writes the whole object (of a subresource: that part); with a resourceVersion in it only if it is still that one.
   * @throws OffshootError kubernetes/conflict; kubernetes/absent
   */
  replace<O extends KubernetesObject>(
    resource: Resource,
    object: O,
    options?: Limits & { readonly subresource?: 'status' },
  ): Promise<O>;
  /** Server-side apply: the fields in `object` become ours, others stay as they are. */
  apply<O extends KubernetesObject>(resource: Resource, object: O, limits?: Limits): Promise<O>;
  /**
   * @returns what the cluster says of it, e.g. the object that waits for its finalizers; undefined when it did not exist
   * @throws OffshootError kubernetes/conflict when it is another one than named
   */
  remove(
    resource: Resource,
    place: Named,
    options?: Limits & {
      readonly uid?: string;
      readonly resourceVersion?: string;
      /** Of a pod: seconds that it has to end. */
      readonly graceSeconds?: number;
    },
  ): Promise<KubernetesObject | undefined>;
  /** The answer to a watch; see watch.ts. */
  watch(
    resource: Resource,
    place: { readonly namespace?: string },
    selection: Selection & { readonly resourceVersion: string; readonly timeoutSeconds: number },
    limits?: Limits,
  ): Promise<IncomingMessage>;
  /**
   * What a container of a pod has said; the answer ends when its signal aborts, or with the container.
   * @throws OffshootError kubernetes/invalid when it has said nothing yet, or has no life before this one
   */
  log(
    pod: { readonly namespace: string; readonly pod: string },
    query: {
      readonly container: string;
      readonly tailLines?: number;
      readonly sinceTime?: string;
      readonly timestamps?: 'true';
      readonly follow?: 'true';
      readonly previous?: 'true';
    },
    limits?: Limits,
  ): Promise<IncomingMessage>;
  /** A token of a service account, for whoever `audience` names. @param seconds at least 600 */
  accountToken(
    account: { readonly namespace: string; readonly name: string },
    audience: string,
    seconds: number,
    limits?: Limits,
  ): Promise<string>;
  /**
   * What the API server knows of the objects of a group and version (OpenAPI 3), by kind; undefined when it knows none. Whoever
   * it lets in may ask for that.
   */
  schemas(group: string, version: string, limits?: Limits): Promise<Schemas | undefined>;
  /** Milliseconds by which our clock is behind the API server's, as its last answer said, to a second or two; 0 before the first. */
  behindMs(): number;
  close(): void;
};

/** By kind: as much of an OpenAPI schema as we read. */
export type Schemas = Readonly<Record<string, unknown>>;

export type ClientOptions = {
  /** For the server's logs and the objects' `managedFields`. */
  readonly userAgent?: string;
  /** Milliseconds for one call, default 15 000. */
  readonly deadlineMs?: number;
  /** Bytes of one answer, default 64 MiB. */
  readonly longest?: number;
  /** Objects of one page, default 250. */
  readonly pageSize?: number;
};

export function clusterClient(access: ClusterAccess, options: ClientOptions = {}): ClusterClient {
  const { userAgent = 'offshoot', deadlineMs = 15_000, longest = 64 * 2 ** 20, pageSize = 250 } = options;
  const transport = transportTo(access);
  let behindMs = 0;

  async function headers(type?: string): Promise<Record<string, string>> {
    const token = await access.tokens?.get();
    return {
      accept: 'application/json',
      'user-agent': userAgent,
      ...(type !== undefined && { 'content-type': type }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
  }

  /** @returns a good answer's body. @throws OffshootError */
  async function call(ask: Ask, { signal, deadlineMs: own = deadlineMs }: Limits = {}): Promise<unknown> {
    const end = performance.now() + own;
    const { verb, resource, place, method, query, body, type } = ask;
    const most = ask.most ?? longest;
    for (let tries = 0; ; tries++) {
      let answer: Answer;
      try {
        const sent = {
          ...{
            method,
            path: ask.path ?? pathOf(resource, place) + queryOf(query),
            headers: await headers(type),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        };
        answer = await sendKept(sent, {
          deadlineMs: end - performance.now(),
          most,
          ...(signal && { signal }),
        });
      } catch (error) {
        throw notAnswered(error, ask, most, signal);
      }
      behindMs = behindOf(answer) ?? behindMs;
      if (answer.status < 300) return parsed(answer.body, ask);
      if (answer.status === 401 && tries === 0 && access.tokens !== undefined) {
        access.tokens.refused();
        continue;
      }
      const waitMs = answer.status === 429 ? retryAfterMs(answer.retryAfter) : undefined;
      if (waitMs === undefined || performance.now() + waitMs >= end)
        throw refused(answer, { verb, resource, place });
      await delay(waitMs, signal);
    }
  }

  /** A kept connection that the server has just closed says nothing about the request: it goes on a new one. */
  async function sendKept(sent: Sent, limits: Parameters<typeof transport.call>[1]): Promise<Answer> {
    try {
      return await transport.call(sent, limits);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (sent.method !== 'GET' || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error;
      return transport.call(sent, limits);
    }
  }

  /** A good answer as it comes, which may have no end. */
  async function open(ask: Ask, { signal, deadlineMs: own = deadlineMs }: Limits = {}) {
    for (let tries = 0; ; tries++) {
      let answer: IncomingMessage;
      try {
        const path = pathOf(ask.resource, ask.place) + queryOf(ask.query);
        const sent = { method: ask.method, path, headers: await headers() };
        answer = await transport.open(sent, { deadlineMs: own, ...(signal && { signal }) });
      } catch (error) {
        throw notAnswered(error, ask, longest, signal);
      }
      const status = answer.statusCode!;
      if (status === 200) return answer;
      const retryAfter = answer.headers['retry-after'];
      const body = await firstOf(answer);
      if (status === 401 && tries === 0 && access.tokens !== undefined) access.tokens.refused();
      else throw refused({ status, body, ...(retryAfter && { retryAfter }) }, ask);
    }
  }

  return {
    namespace: access.namespace,

    async get<O>(resource: Resource, place: Named, limits?: Limits) {
      try {
        return (await call({ verb: 'get', method: 'GET', resource, place }, limits)) as O;
      } catch (error) {
        if (isCode(error, 'kubernetes/absent')) return undefined;
        throw error;
      }
    },

    async *pages<O extends KubernetesObject>(
      resource: Resource,
      place: { readonly namespace?: string },
      selection: Selection = {},
      limits: Limits = {},
    ): AsyncGenerator<Page<O>> {
      let next: string | undefined;
      let limit = pageSize;
      for (;;) {
        const query = { ...selection, limit, continue: next };
        let list: List<O>;
        try {
          list = (await call({ verb: 'list', method: 'GET', resource, place, query }, limits)) as List<O>;
        } catch (error) {
          if (!isCode(error, 'kubernetes/too-long') || limit === 1) throw error;
          limit = Math.ceil(limit / 10);
          continue;
        }
        next = list.metadata?.continue || undefined;
        yield { items: list.items ?? [], resourceVersion: list.metadata?.resourceVersion ?? '' };
        if (next === undefined) return;
      }
    },

    async now(resource, place, limits) {
      const ask = { verb: 'list', method: 'GET', resource, place, query: { limit: 1 } } as const;
      const list = (await call(ask, limits)) as List<KubernetesObject>;
      return list.metadata?.resourceVersion ?? '';
    },

    async create(resource, object, limits) {
      const place = { ...inNamespace(object), name: object.metadata.name };
      const ask = {
        verb: 'create',
        method: 'POST',
        resource,
        place: inNamespace(object),
        body: object,
      } as const;
      try {
        return (await call({ ...ask, type: 'application/json' }, limits)) as typeof object;
      } catch (error) {
        throw named(error, 'create', resource, place);
      }
    },

    async replace(resource, object, { subresource, ...limits } = {}) {
      const place = {
        ...inNamespace(object),
        name: object.metadata.name,
        ...(subresource && { subresource }),
      };
      const ask = { verb: 'update', method: 'PUT', resource, place, body: object } as const;
      return (await call({ ...ask, type: 'application/json' }, limits)) as typeof object;
    },

    async apply(resource, object, limits) {
      const place = { ...inNamespace(object), name: object.metadata.name };
      const query = { fieldManager: 'offshoot', force: 'true' };
      const ask = { verb: 'patch', method: 'PATCH', resource, place, query, body: object } as const;
      return (await call({ ...ask, type: 'application/apply-patch+yaml' }, limits)) as typeof object;
    },

    async remove(resource, place, { uid, resourceVersion, graceSeconds, ...limits } = {}) {
      const preconditions = { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) };
      const body = {
        kind: 'DeleteOptions',
        apiVersion: 'v1',
        propagationPolicy: 'Background',
        preconditions,
        ...(graceSeconds !== undefined && { gracePeriodSeconds: graceSeconds }),
      };
      try {
        const ask = { verb: 'delete', method: 'DELETE', resource, place, body } as const;
        return (await call({ ...ask, type: 'application/json' }, limits)) as KubernetesObject;
      } catch (error) {
        if (isCode(error, 'kubernetes/absent')) return undefined;
        throw error;
      }
    },

    watch(resource, place, selection, limits) {
      const query = { ...selection, watch: 'true', allowWatchBookmarks: 'true' };
      return open({ verb: 'watch', method: 'GET', resource, place, query }, limits);
    },

    log({ namespace, pod }, query, limits) {
      const place = { namespace, name: pod, subresource: 'log' };
      return open({ verb: 'get', method: 'GET', resource: resources.Pod, place, query }, limits);
    },

    async accountToken(account, audience, seconds, limits) {
      const place = { ...account, subresource: 'token' };
      const body = {
        ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
        spec: { audiences: [audience], expirationSeconds: seconds },
      };
      const resource = resources.ServiceAccount;
      const ask = { verb: 'create', method: 'POST', resource, place, body } as const;
      const answer = (await call({ ...ask, type: 'application/json' }, limits)) as {
        readonly status?: { readonly token?: string };
      };
      return answer.status?.token ?? '';
    },

    async schemas(group, version, limits) {
      const resource = { group, version, plural: 'schemas' };
      const path = `/openapi/v3/apis/${group}/${version}`;
      try {
        const ask = { verb: 'get', method: 'GET', resource, place: {}, path } as const;
        const { components } = (await call(ask, limits)) as OpenApi;
        return Object.fromEntries(
          Object.values(components?.schemas ?? {}).flatMap(schema =>
            (schema['x-kubernetes-group-version-kind'] ?? []).map(({ kind }) => [kind, schema]),
          ),
        );
      } catch (error) {
        if (isCode(error, 'kubernetes/absent')) return undefined;
        throw error;
      }
    },

    behindMs: () => behindMs,

    close: () => transport.close(),
  };
}

/** What an error of the cluster, as an answer or in a watch, is to us. */
export function refused(answer: Answer, { verb, resource, place }: Pick<Ask, 'verb' | 'resource' | 'place'>) {
  const { status, body } = answer;
  const code = codes[status] ?? (status >= 500 ? 'kubernetes/unavailable' : 'kubernetes/invalid');
  const params = {
    ...{ verb, what: describe(resource, place), resource: resourceName(resource, place), status },
    ...{ why: sentence(body, status), retryAfterMs: retryAfterMs(answer.retryAfter) },
  };
  return new OffshootError(code, params);
}

export const isCode = (error: unknown, code: OffshootError['code']): error is OffshootError =>
  error instanceof OffshootError && error.code === code;

// --- internal -----------------------------------------------------------------------------------

type Ask = {
  /** As RBAC calls it. */
  readonly verb: string;
  readonly method: string;
  readonly resource: Resource;
  readonly place: Place;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly type?: string;
  readonly most?: number;
  /** Of what is no resource; default: that of the resource. */
  readonly path?: string;
};

type OpenApi = {
  readonly components?: {
    readonly schemas?: Readonly<
      Record<string, { readonly 'x-kubernetes-group-version-kind'?: readonly { readonly kind: string }[] }>
    >;
  };
};

/** @returns undefined when the server does not say what time it is */
function behindOf({ date }: Answer): number | undefined {
  const at = Date.parse(date ?? '');
  return Number.isNaN(at) ? undefined : at - Date.now();
}

type List<O> = {
  readonly items?: readonly O[] | null;
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
};

const codes: Readonly<Record<number, OffshootError['code']>> = {
  401: 'kubernetes/unauthorized',
  403: 'kubernetes/forbidden',
  404: 'kubernetes/absent',
  409: 'kubernetes/conflict',
  410: 'kubernetes/expired',
  429: 'kubernetes/unavailable',
};

/** Characters of the server's own sentence; it may quote a whole object. */
const longestSentence = 1_000;

const inNamespace = ({ metadata: { namespace } }: KubernetesObject) =>
  namespace === undefined ? {} : { namespace };

function queryOf(query: Ask['query']): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined) said.set(name, String(value));
  return said.size === 0 ? '' : `?${said}`;
}

function parsed(body: Buffer, { verb, resource, place }: Ask): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (cause) {
    const params = { verb, what: describe(resource, place), why: 'its answer is no JSON' };
    throw new OffshootError('kubernetes/unreachable', params, { cause });
  }
}

function notAnswered(
  error: unknown,
  { verb, resource, place }: Ask,
  most: number,
  signal: AbortSignal | undefined,
) {
  if (signal?.aborted && error === signal.reason) return error;
  if (error instanceof OffshootError) return error;
  const params = { verb, what: describe(resource, place) };
  if (error instanceof TooLongError) return new OffshootError('kubernetes/too-long', { ...params, most });
  const { code, message } = error as NodeJS.ErrnoException;
  return new OffshootError('kubernetes/unreachable', { ...params, why: code ?? message }, { cause: error });
}

/** A create is asked of all in a namespace, and is about one. */
function named(error: unknown, verb: string, resource: Resource, place: Place): unknown {
  if (!(error instanceof OffshootError) || error.params.what === undefined) return error;
  const params = { ...error.params, verb, what: describe(resource, place) };
  return new OffshootError(error.code, params, { cause: error.cause });
}

/** The server's own sentence. */
function sentence(body: Buffer, status: number): string {
  let text: unknown;
  try {
    text = (JSON.parse(body.toString()) as { message?: unknown }).message;
  } catch {
    text = body.toString().trim();
  }
  if (typeof text !== 'string' || text === '') return `status ${status}`;
  return text.length > longestSentence ? `${text.slice(0, longestSentence)}…` : text;
}

/** RFC 9110 §10.2.3 in seconds, as API servers send it; one second when it says nothing that we know. At most a minute. */
const retryAfterMs = (seconds: string | undefined): number =>
  Math.min(60, /^\d+$/.test(seconds ?? '') ? Number(seconds) : 1) * 1_000;

/** The beginning of a refusal. */
async function firstOf(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const late = setTimeout(() => answer.destroy(), 5_000);
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > 64 * 1024) break;
    }
  } catch {
    // What has come must do.
  } finally {
    clearTimeout(late);
  }
  return Buffer.concat(chunks);
}
