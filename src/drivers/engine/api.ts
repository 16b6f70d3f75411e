/**
 * The dozen calls of the Docker Engine API that we need, over its unix socket (https://docs.docker.com/reference/api/engine/;
 * Podman: `podman-system-service(1)`). Without a version in the path, so that each engine answers as it is.
 */
import type { IncomingMessage } from 'node:http';
import { request } from '../../lib/http.ts';
import { readJsonLines } from '../../lib/json-lines.ts';
import type { CreateBody } from './create-body.ts';

/** The engine has answered that it will not; the message is its own sentence. */
export class EngineRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'EngineRefusal';
    this.status = status;
  }
}

export type ContainerState = {
  readonly State: {
    /** Podman: created, configured, running, stopping, exited, …; Docker: the like. */
    readonly Status: string;
    readonly Running: boolean;
    readonly OOMKilled: boolean;
    readonly Pid: number;
    readonly ExitCode: number;
  };
  readonly LogPath?: string;
  readonly Config?: { readonly StopSignal?: string };
};

export type EngineApi = {
  /** @returns e.g. `Podman 4.3.1` */
  title(): Promise<string>;
  ping(): Promise<void>;
  hasImage(image: string): Promise<boolean>;
  /** @param tell called with what comes, e.g. `Downloading` and how much of it */
  pull(image: string, signal: AbortSignal, tell: (progress: PullProgress) => void): Promise<void>;
  /** Makes an image of one layer. @param layer a tar file */
  importImage(image: string, layer: Buffer): Promise<void>;
  create(name: string, body: CreateBody): Promise<string>;
  start(id: string): Promise<void>;
  /** @returns undefined when it is not there */
  inspect(id: string): Promise<ContainerState | undefined>;
  /** Kills it if it runs. Absent is success. */
  remove(id: string): Promise<void>;
  /** Ids of all with a label, running or not. */
  list(label: string): Promise<readonly string[]>;
  /** @returns what it printed, both streams */
  exec(id: string, argv: readonly string[], deadlineMs: number, signal: AbortSignal): Promise<ExecSeen>;
};

export type PullProgress = { readonly status: string; readonly current: number; readonly total: number };
export type ExecSeen = { readonly exitCode: number; readonly output: string };

export function engineApi(socketPath: string): EngineApi {
  return {
    async title() {
      const { Version = '', Components = [] } = (await json('GET', '/version')) as {
        Version?: string;
        Components?: { Name?: string; Version?: string }[];
      };
      const isPodman = Components.some(({ Name }) => Name?.startsWith('Podman'));
      return `${isPodman ? 'Podman' : 'Docker'} ${Version}`;
    },

    async ping() {
      await json('GET', '/_ping', undefined, PING_MS);
    },

    hasImage: image =>
      absentIs(
        false,
        json('GET', `/images/${encodePath(image)}/json`).then(() => true),
      ),

    async pull(image, signal, tell) {
      const { name, tag } = splitTag(image);
      const query = new URLSearchParams({ fromImage: name, ...(tag !== undefined && { tag }) });
      const answer = await send('POST', `/images/create?${query}`, undefined, signal);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const layers = new Map<string, { current: number; total: number }>();
      readJsonLines(answer, {
        maxLength: MAX_ANSWER,
        onValue(value) {
          const { error, status = '', id, progressDetail } = value as PullLine;
          if (error !== undefined) return reject(new EngineRefusal(500, oneLine(error)));
          const { current = 0, total = 0 } = progressDetail ?? {};
          if (id !== undefined && total > 0) layers.set(id, { current, total });
          const sum = (key: 'current' | 'total') => [...layers.values()].reduce((n, l) => n + l[key], 0);
          tell({ status: oneLine(status), current: sum('current'), total: sum('total') });
        },
        onBroken: why => reject(new Error(why)),
      });
      answer.on('error', reject);
      answer.on('end', resolve);
      try {
        await promise;
      } finally {
        answer.destroy(); // what has failed is not listened to until the engine hangs up
      }
    },

    async importImage(image, layer) {
      const { name, tag = 'latest' } = splitTag(image);
      const query = new URLSearchParams({ fromSrc: '-', repo: name, tag });
      await json('POST', `/images/create?${query}`, layer);
    },

    async create(name, body) {
      const { Id } = (await json('POST', `/containers/create?name=${encodeURIComponent(name)}`, body)) as {
        Id: string;
      };
      return Id;
    },

    async start(id) {
      await json('POST', `/containers/${id}/start`);
    },

    inspect: id =>
      absentIs(undefined, json('GET', `/containers/${id}/json`) as Promise<ContainerState | undefined>),

    async remove(id) {
      await absentIs(undefined, json('DELETE', `/containers/${id}?force=true&v=true`));
    },

    async list(label) {
      const filters = JSON.stringify({ label: [label] });
      const found = await json('GET', `/containers/json?${new URLSearchParams({ all: 'true', filters })}`);
      return (found as { Id: string }[]).map(({ Id }) => Id);
    },

    async exec(id, argv, deadlineMs, signal) {
      const wish = { AttachStdout: true, AttachStderr: true, Cmd: argv };
      const { Id } = (await json('POST', `/containers/${id}/exec`, wish)) as { Id: string };
      const until = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]);
      const answer = await send('POST', `/exec/${Id}/start`, { Detach: false, Tty: false }, until);
      const output = withoutFrames(await readAll(answer));
      const { ExitCode } = (await json('GET', `/exec/${Id}/json`)) as { ExitCode: number };
      return { exitCode: ExitCode, output };
    },
  };

  async function json(method: string, path: string, body?: unknown, deadlineMs = CALL_MS): Promise<unknown> {
    const text = (await readAll(await send(method, path, body, AbortSignal.timeout(deadlineMs)))).toString();
    try {
      return text === '' ? undefined : JSON.parse(text);
    } catch {
      return text; // e.g. `OK`
    }
  }

  /** @throws EngineRefusal; the system's error, e.g. ENOENT or ECONNREFUSED, when nobody answers */
  async function send(
    method: string,
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const isFile = Buffer.isBuffer(body);
    const text = body === undefined || isFile ? body : Buffer.from(JSON.stringify(body));
    const type = isFile ? 'application/x-tar' : 'application/json';
    const headers = {
      host: 'engine',
      ...(text && { 'content-type': type, 'content-length': text.length }),
    };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const asked = request({ socketPath, method, path, headers, agent: false, signal });
      asked.on('error', reject);
      asked.on('response', resolve);
      asked.end(text);
    });
    answer.on('error', () => {}); // told by whoever reads it
    const status = answer.statusCode ?? 0;
    if (status < 400) return answer;
    throw new EngineRefusal(status, sentenceOf((await readAll(answer)).toString(), status));
  }
}

/** A container is not there, nobody listens, the connection broke: no answer of an engine. */
export const isAway = (error: unknown): boolean => !(error instanceof EngineRefusal);

// --- internal -----------------------------------------------------------------------------------

const PING_MS = 5_000;
/** A machine under load takes its time to start a container. */
const CALL_MS = 60_000;
const MAX_ANSWER = 8 * 2 ** 20;

type PullLine = {
  readonly status?: string;
  readonly id?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
};

async function absentIs<T>(value: T, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof EngineRefusal && error.status === 404) return value;
    throw error;
  }
}

async function readAll(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    // It is there, and would say the same again.
    if (size > MAX_ANSWER) throw new EngineRefusal(500, `it answers with more than ${MAX_ANSWER} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Docker Engine API, "Attach to a container", stream format: a head of 8 bytes before each piece. */
function withoutFrames(bytes: Buffer): string {
  const pieces: Buffer[] = [];
  for (let at = 0; at + 8 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at + 4);
    pieces.push(bytes.subarray(at + 8, at + 8 + size));
    at += 8 + size;
  }
  return Buffer.concat(pieces).toString();
}

/** Podman adds a cause and a code, which the message holds already. */
function sentenceOf(text: string, status: number): string {
  try {
    const { message } = JSON.parse(text) as { message?: string };
    if (message) return oneLine(message);
  } catch {
    // Not from the engine itself.
  }
  return `it answers ${status}`;
}

const oneLine = (text: string): string =>
  text
    .trim()
    .replace(/\s*\n\s*/g, '; ')
    .slice(0, 1_000);

/** A digest belongs to the name (`fromImage`), a colon before the last slash to the registry's port. */
function splitTag(image: string): { name: string; tag?: string } {
  if (image.includes('@')) return { name: image };
  const colon = image.indexOf(':', image.lastIndexOf('/') + 1);
  return colon < 0
    ? { name: image, tag: 'latest' }
    : { name: image.slice(0, colon), tag: image.slice(colon + 1) };
}

const encodePath = (image: string): string => image.split('/').map(encodeURIComponent).join('/');
