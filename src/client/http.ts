/** Requests to the API: one place that sends the key, reads the answer and turns error bodies back into errors. */
import { type ErrorBody, isErrorCode, OffshootError } from '../model/errors.ts';

export type Connection = {
  /** e.g. http://127.0.0.1:7400 */
  readonly url: string;
  readonly apiKey: string;
  /** Authorities to trust besides those that are known, PEM; for https. */
  readonly ca?: string;
};

export type RequestOptions = {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

/** An error that a server reported: its sentence and hint are the server's, the rest comes from our table. */
export class ReportedError extends OffshootError {
  readonly body: ErrorBody;

  constructor(body: ErrorBody) {
    super(
      body.code,
      {},
      { ...(body.problems && { problems: body.problems }), ...(body.output && { output: body.output }) },
    );
    this.message = body.error;
    this.body = body;
  }

  override get hint(): string | undefined {
    return this.body.hint;
  }
}

/**
 * @throws OffshootError api/unreachable when nobody answers, or something that is not offshoot; api/untrusted when its
 * certificate proves nothing to us; ReportedError for every answer of ours that is not 2xx; the signal's reason
 */
export async function send(
  { url, apiKey, ca }: Connection,
  method: string,
  path: string,
  { query = {}, body, headers, signal }: RequestOptions = {},
): Promise<Response> {
  const target = new URL(path, url);
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) target.searchParams.set(name, String(value));
  let response: Response;
  try {
    response = await fetchTrusting(ca, target, {
      method,
      redirect: 'error', // the key is for this server only
      headers: {
        'offshoot-api-key': apiKey,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const why = distrust((cause as { readonly cause?: unknown }).cause);
    if (why !== undefined) throw new OffshootError('api/untrusted', { url, why }, { cause });
    throw new OffshootError('api/unreachable', { url }, { cause });
  }
  if (!response.ok) throw await toError(response, url);
  return response;
}

/** The answer's JSON. @throws as `send`, also when the answer is none of ours */
export async function sendForJson<T>(
  connection: Connection,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<T> {
  const response = await send(connection, method, path, options);
  try {
    return (await response.json()) as T;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new OffshootError('api/unreachable', { url: connection.url }, { cause });
  }
}

// --- internal -----------------------------------------------------------------------------------

/** One for each set of authorities: it keeps connections. */
const dispatchers = new Map<string, Promise<{ readonly fetch: typeof fetch; readonly dispatcher: object }>>();

async function fetchTrusting(ca: string | undefined, target: URL, init: RequestInit): Promise<Response> {
  if (ca === undefined) return fetch(target, init);
  const made = dispatchers.get(ca) ?? trusting(ca);
  dispatchers.set(ca, made);
  const { fetch: fetchWith, dispatcher } = await made;
  return fetchWith(target, { ...init, dispatcher } as RequestInit);
}

/** Loaded for this only: node's own fetch takes no authorities. */
async function trusting(ca: string) {
  const [{ Agent, fetch }, { getCACertificates }] = await Promise.all([import('undici'), import('node:tls')]);
  const dispatcher = new Agent({ connect: { ca: [...getCACertificates('default'), ca] } });
  return { fetch: fetch as unknown as typeof globalThis.fetch, dispatcher };
}

/** Why a certificate was refused, in words; undefined when something else went wrong. */
function distrust(cause: unknown): string | undefined {
  const { code = '', message = '' } = (cause ?? {}) as { readonly code?: string; readonly message?: string };
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'it is not for that host';
  return /CERT|SIGNATURE|ISSUER/.test(code) ? message : undefined;
}

async function toError(response: Response, url: string): Promise<OffshootError> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as ErrorBody;
    if (isErrorCode(body.code)) return new ReportedError(body);
  } catch {
    // Not our JSON: something else answers there.
  }
  const detail = `status ${response.status}: ${text.slice(0, 1_000)}`;
  return new OffshootError('api/unreachable', { url }, { detail });
}
