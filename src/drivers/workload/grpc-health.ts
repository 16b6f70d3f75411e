/**
 * One call of `grpc.health.v1.Health/Check` over HTTP/2 without TLS, as a kubelet's gRPC probe makes it.
 * Sources: github.com/grpc/grpc, doc/health-checking.md and doc/PROTOCOL-HTTP2.md; the wire format of the two
 * messages, with one field each, is protobuf.dev/programming-guides/encoding.
 */
import { type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import type { Socket } from 'node:net';

export type HealthCall = {
  readonly host: string;
  readonly port: number;
  /** A connection to it. @throws the system's error; the signal's reason */
  connect(signal: AbortSignal): Promise<Socket>;
  /** Empty: the server as a whole. */
  readonly service: string;
  readonly timeoutMs: number;
};

/**
 * A server that does not speak HTTP/2 at all has no health service to ask, whatever its manifest says: it is well when
 * it answers anything. (A program may stand in here for an image that speaks gRPC.)
 * @returns undefined when it serves, otherwise what is wrong
 */
export async function checkGrpcHealth(call: HealthCall, signal: AbortSignal): Promise<string | undefined> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(call.timeoutMs)]);
  const answer = await ask(call, deadline);
  if (answer.spoke || deadline.aborted) return answer.wrong;
  return (await speaksSomethingElse(call, deadline)) ? undefined : answer.wrong;
}

// --- internal -----------------------------------------------------------------------------------

type Answer = {
  /** The server has sent the settings with which every HTTP/2 server begins (RFC 9113 §3.4). */
  readonly spoke: boolean;
  readonly wrong: string | undefined;
};

const PATH = '/grpc.health.v1.Health/Check';
/** Far more than an answer has. */
const MAX_ANSWER = 4_096;
/** HealthCheckResponse.ServingStatus */
const STATUS: readonly string[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
const SERVING = 1;
/** grpc.github.io/grpc/core/md_doc_statuscodes.html, what health services answer with. */
const CODE: Readonly<Record<string, string>> = {
  '5': 'the service is not known',
  '12': 'the server has no health service',
};

async function ask(call: HealthCall, deadline: AbortSignal): Promise<Answer> {
  const { host, port, service, timeoutMs } = call;
  let socket: Socket;
  try {
    socket = await call.connect(deadline);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const late = deadline.aborted ? `no answer within ${timeoutMs} ms` : undefined;
    return { spoke: false, wrong: `health check: ${late ?? code ?? message}` };
  }
  const session = connectHttp2(`http://${host}:${port}`, { createConnection: () => socket });
  let spoke = false;
  session.once('remoteSettings', () => {
    spoke = true;
  });
  try {
    const wrong = await new Promise<string | undefined>((resolve, reject) => {
      session.on('error', reject);
      session.once('close', () => reject(new Error('the connection was closed')));
      deadline.addEventListener('abort', () => reject(new Error(`no answer within ${timeoutMs} ms`)), {
        once: true,
      });
      deadline.throwIfAborted();
      // Before there is a connection, a request would hide why there is none.
      session.once('connect', () => {
        if (session.destroyed) return;
        const stream = session.request({
          [constants.HTTP2_HEADER_METHOD]: 'POST',
          [constants.HTTP2_HEADER_PATH]: PATH,
          'content-type': 'application/grpc',
          te: 'trailers',
          'user-agent': 'offshoot-probe',
          'grpc-timeout': `${timeoutMs}m`,
        });
        stream.on('error', reject);
        answerOf(stream).then(resolve, reject);
        stream.end(frame(request(service)));
      });
    });
    return { spoke, wrong };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return { spoke, wrong: `health check: ${code ?? message}` };
  } finally {
    session.destroy();
  }
}

/** @returns what is wrong, undefined when it serves */
async function answerOf(stream: ClientHttp2Stream): Promise<string | undefined> {
  let head: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  stream.once('response', headers => {
    head = headers;
  });
  stream.once('trailers', headers => {
    trailers = headers;
  });
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER) return 'health check: the answer is too long';
    chunks.push(chunk);
  }
  if (head[':status'] !== 200) return `health check answered ${head[':status']}`;
  // Without a message, the head is the trailer.
  const code = String(trailers['grpc-status'] ?? head['grpc-status'] ?? 'none');
  if (code !== '0') return `health check: ${CODE[code] ?? `status ${code}`}`;
  const status = servingStatus(Buffer.concat(chunks));
  return status === SERVING ? undefined : `health check answered ${STATUS[status] ?? status}`;
}

/** HealthCheckRequest: field 1 is `service`, a text; the empty one is not written. */
function request(service: string): Buffer {
  const text = Buffer.from(service);
  return text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

/** Length-prefixed, not compressed. */
function frame(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** HealthCheckResponse: field 1 is `status`, a number; 0 is not written, and what we do not know is left out. */
function servingStatus(answer: Buffer): number {
  const [tag, status] = answer.subarray(5, 7);
  return tag === 0x08 ? (status ?? 0) : 0;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...bytes, rest];
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** Whether the first bytes that answer an HTTP/2 client are not a frame of settings, but something. */
async function speaksSomethingElse({ connect }: HealthCall, deadline: AbortSignal): Promise<boolean> {
  const socket = await connect(deadline).catch(() => undefined);
  if (socket === undefined) return false;
  socket.on('error', () => {});
  const aborted = () => socket.destroy();
  deadline.addEventListener('abort', aborted, { once: true });
  const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), emptySettings]));
  const typeOfFrame = 3;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) return chunk[typeOfFrame] !== 4;
  } catch {
    // reset or timed out: nobody has answered
  } finally {
    deadline.removeEventListener('abort', aborted);
    socket.destroy();
  }
  return false;
}
