/** Requests to the API: one place that sends the key, reads the answer and turns error bodies back into errors. */
import type { Agent, IncomingMessage, RequestOptions as RequestOptionsOfNode } from 'node:http';
import { request } from '../lib/http.ts';
import { type ErrorBody, isErrorCode, OffshootError } from '../model/errors.ts';

export type Connection = {
  /** e.g. http://127.0.0.1:7400 */
  readonly url: string;
  readonly apiKey: string;
  /** Authorities to trust besides those that are known, PEM; for https. */
  readonly ca?: string;
  /** Another way than right to `url`, which then only names it; asked for with each request. */
  readonly way?: () => Promise<Way>;
};

/** Through somebody who leads requests on. */
export type Way = {
  /** What paths are put behind. */
  readonly base: string;
  readonly apiKey: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: Agent;
  /** What an answer means that is his own and not the server's; undefined: he has led it on. */
  readonly refused: (status: number, text: string) => OffshootError | undefined;
};

export type RequestOptions = {
  readonly query?: Readonly<Record<string, Value | readonly Value[] | undefined>>;
  /** Sent as JSON; bytes as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

type Value = string | number | boolean;

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
  { url, apiKey, ca, ...connection }: Connection,
  method: string,
  path: string,
  { query = {}, body, headers, signal }: RequestOptions = {},
): Promise<Answer> {
  const way = await connection.way?.();
  const target = way === undefined ? new URL(path, url) : new URL(way.base + path);
  for (const [name, value] of Object.entries(query))
    for (const one of [value ?? []].flat()) target.searchParams.append(name, String(one));
  const isBytes = body instanceof Uint8Array;
  const text = body === undefined || isBytes ? body : JSON.stringify(body);
  let answer: Answer;
  try {
    answer = await exchange(ca, target, text, {
      method,
      ...(way && { agent: way.agent }),
      headers: {
        ...way?.headers,
        'offshoot-api-key': way?.apiKey ?? apiKey,
        ...(text !== undefined && {
          'content-type': isBytes ? 'application/octet-stream' : 'application/json',
          'content-length': Buffer.byteLength(text),
        }),
        ...headers,
      },
      ...(signal !== undefined && { signal }),
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const why = distrust(cause);
    if (why !== undefined) throw new OffshootError('api/untrusted', { url, why }, { cause });
    throw new OffshootError('api/unreachable', { url }, { cause });
  }
  const { statusCode: status = 0 } = answer;
  if (status < 200 || status > 299) throw await toError(answer, url, way);
  return answer;
}

/** The answer's JSON. @throws as `send`, also when the answer is none of ours */
export async function sendForJson<T>(
  connection: Connection,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<T> {
  const answer = await send(connection, method, path, options);
  try {
    return JSON.parse(await textOf(answer)) as T;
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new OffshootError('api/unreachable', { url: connection.url }, { cause });
  }
}

// --- internal -----------------------------------------------------------------------------------

/** Nothing is heard for so long only of a server that hangs: a watch hears something every 15 s. */
const SILENT_MS = 300_000;

type Answer = IncomingMessage;

/** Resolves with the head of the answer. Redirects are answers: the key is for this server only. */
async function exchange(
  ca: string | undefined,
  target: URL,
  body: string | Uint8Array | undefined,
  options: RequestOptionsOfNode,
): Promise<Answer> {
  const secure = target.protocol === 'https:' ? await trusting(ca, options.agent as Agent) : undefined;
  return await new Promise((resolve, reject) => {
    const sent = (secure?.request ?? request)(target, {
      ...options,
      ...(secure !== undefined && { agent: secure.agent }),
    });
    sent.on('error', reject);
    sent.on('response', answer => {
      // Whoever reads it hears the error.
      answer.on('error', () => {});
      resolve(answer);
    });
    sent.setTimeout(SILENT_MS, () => sent.destroy(new Error('the server is silent')));
    sent.end(body);
  });
}

type Secure = { readonly request: typeof request; readonly agent: Agent };

/** One for each set of authorities: it keeps connections. */
const agents = new Map<string | undefined, Secure>();

/** Loaded for https only. */
async function trusting(ca: string | undefined, given: Agent | undefined): Promise<Secure> {
  const [https, { createSecureContext, getCACertificates }] = await Promise.all([
    import('node:https'),
    import('node:tls'),
  ]);
  if (given !== undefined) return { request: https.request, agent: given };
  let secure = agents.get(ca);
  if (secure === undefined) {
    const trusted = ca === undefined ? {} : { ca: [...getCACertificates('default'), ca] };
    const agent = new https.Agent({ keepAlive: true, secureContext: createSecureContext(trusted) });
    secure = { request: https.request, agent };
    agents.set(ca, secure);
  }
  return secure;
}

/** Why a certificate was refused, in words; undefined when something else went wrong. */
function distrust(cause: unknown): string | undefined {
  const { code = '', message = '' } = (cause ?? {}) as { readonly code?: string; readonly message?: string };
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'it is not for that host';
  return /CERT|SIGNATURE|ISSUER/.test(code) ? message : undefined;
}

async function textOf(answer: Answer): Promise<string> {
  answer.setEncoding('utf8');
  let text = '';
  for await (const chunk of answer) text += chunk;
  return text;
}

async function toError(answer: Answer, url: string, way: Way | undefined): Promise<OffshootError> {
  const text = await textOf(answer).catch(() => '');
  const refused = way?.refused(answer.statusCode ?? 0, text);
  if (refused !== undefined) return refused;
  try {
    const body = JSON.parse(text) as ErrorBody;
    if (isErrorCode(body.code)) return new ReportedError(body);
  } catch {
    // Not our JSON: something else answers there.
  }
  const detail = `status ${answer.statusCode}: ${text.slice(0, 1_000)}`;
  return new OffshootError('api/unreachable', { url }, { detail });
}
