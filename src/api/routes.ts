/** The table of the API's routes: which handler a method and a path lead to, and what handlers get and give. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { OffshootError } from '../model/errors.ts';

/** @typeParam P names in the path, which `:name` marks there */
export type Request<P = unknown> = {
  readonly params: P;
  /** Names that are there more than once have a list. */
  readonly query: Readonly<Record<string, string | readonly string[]>>;
  /** Of JSON; undefined when there is none. */
  readonly body: unknown;
  readonly headers: IncomingHttpHeaders;
  /** For what ends with the connection, and for handlers that give `taken`. */
  readonly response: ServerResponse;
};

/** What it gives is the answer's JSON, with status 200 unless it is `answer`'s. */
export type Handler<P = unknown> = (request: Request<P>) => Promise<unknown>;

export type RouteOptions = {
  /** Bytes, for bodies that are longer than usual. */
  readonly bodyLimit?: number;
  /** The body stays bytes: what is long is not read on the loop. */
  readonly bytes?: true;
  /** The body is no JSON but bytes, `application/octet-stream`. */
  readonly raw?: true;
  /** Its answer holds the secrets that it is there to tell; those of all others are masked. */
  readonly tellsSecrets?: true;
};

export type Route = {
  readonly handler: Handler<never>;
  readonly options: RouteOptions;
  /** Of what is named in the path, in their order. */
  readonly names: readonly string[];
};

const methods = ['get', 'put', 'post', 'delete'] as const;
type Add = <P = unknown>(path: string, handler: Handler<P>, options?: RouteOptions) => void;

export type Routes = Readonly<Record<(typeof methods)[number], Add>> & {
  /**
   * @param path as it was sent, without its query
   * @throws OffshootError api/bad-request when a part of it is malformed or too long
   */
  find(
    method: string,
    path: string,
  ): { readonly route: Route; readonly params: Readonly<Record<string, string>> } | undefined;
};

export class Answer {
  readonly status: number;
  readonly view: unknown;

  constructor(status: number, view: unknown) {
    this.status = status;
    this.view = view;
  }
}

export const answer = (status: number, view: unknown): Answer => new Answer(status, view);

/** The handler writes the answer itself. */
export const taken = Symbol('taken');

export function createRoutes(): Routes {
  const root = node();
  const add =
    (method: string): Add =>
    (path, handler, options = {}) => {
      const names: string[] = [];
      let at = root;
      for (const part of path.split('/').slice(1)) {
        if (part.startsWith(':')) {
          names.push(part.slice(1));
          at = at.any ??= node();
        } else at = at.fixed.get(part) ?? at.fixed.set(part, node()).get(part)!;
      }
      at.routes.set(method.toUpperCase(), { handler, options, names });
    };
  return {
    ...(Object.fromEntries(methods.map(method => [method, add(method)])) as Record<
      (typeof methods)[number],
      Add
    >),
    find(method, path) {
      const values: string[] = [];
      let at: Node | undefined = root;
      for (const part of path.split('/').slice(1)) {
        const fixed: Node | undefined = at.fixed.get(part);
        if (fixed === undefined && at.any !== undefined) values.push(decoded(part));
        at = fixed ?? at.any;
        if (at === undefined) return undefined;
      }
      const route = at.routes.get(method);
      return route && { route, params: Object.fromEntries(route.names.map((name, i) => [name, values[i]!])) };
    },
  };
}

/** What stands behind the `?` of a URL. */
export function queryOf(url: string): Request['query'] {
  const query: Record<string, string | readonly string[]> = {};
  const at = url.indexOf('?');
  if (at < 0) return query;
  const sent = new URLSearchParams(url.slice(at + 1));
  for (const name of new Set(sent.keys())) {
    const [first, ...more] = sent.getAll(name);
    query[name] = more.length > 0 ? [first!, ...more] : first!;
  }
  return query;
}

// --- internal -----------------------------------------------------------------------------------

/** Characters of a name in a path. */
const longest = 1_000;

type Node = {
  readonly fixed: Map<string, Node>;
  readonly routes: Map<string, Route>;
  /** For all parts that are none of `fixed`. */
  any?: Node;
};

const node = (): Node => ({ fixed: new Map(), routes: new Map() });

function decoded(part: string): string {
  let text: string;
  try {
    text = decodeURIComponent(part);
  } catch {
    throw new OffshootError('api/bad-request', { why: `"${part.slice(0, 100)}" is no part of a path` });
  }
  if (text.length > longest)
    throw new OffshootError('api/bad-request', {
      why: `a name in the path is longer than ${longest} characters`,
    });
  return text;
}
