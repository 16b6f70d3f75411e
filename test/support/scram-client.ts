/**
 * A client of SCRAM-SHA-256(-PLUS) written from RFC 5802 and the page "SASL Authentication", apart from the code under
 * test, that can be made to lie at every step. It speaks TLS from its first byte.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { until } from '../../src/lib/wait.ts';
import { cstring, type Frame, int32, message, readFrames, startupMessage } from './pg-frames.ts';

export type Lies = {
  readonly mechanism?: string;
  /** RFC 5802's gs2-header. */
  readonly header?: string;
  /** In place of the hash of the server's certificate. */
  readonly endPoint?: Buffer;
  readonly nonce?: string;
  /** Is given the last message, and what the server had said before; what it returns is sent. */
  readonly last?: (text: string, theirs: string) => string | Promise<string>;
};

export type Told = {
  /** All that the server has said, in order. */
  readonly frames: readonly Frame[];
  /** What the client has said last. */
  readonly last: string | undefined;
  /** Salt and iterations that it was asked with. */
  readonly asked: string | undefined;
};

/** Logs in, or tries to. Resolves when the server lets it in or hangs up. */
export async function logInByHand(
  where: { readonly host: string; readonly port: number },
  o: {
    readonly params: Readonly<Record<string, string>>;
    readonly version?: number;
    readonly password: string;
  } & Lies,
): Promise<Told> {
  const socket = connect({ ...where, ALPNProtocols: ['postgresql'], rejectUnauthorized: false });
  const chunks: Buffer[] = [];
  let ended = false;
  socket.on('error', () => {});
  socket.on('data', chunk => chunks.push(chunk));
  socket.on('close', () => {
    ended = true;
  });
  const frames = () => readFrames(Buffer.concat(chunks));
  const codeOf = ({ body }: Frame) => body.readInt32BE(0);
  const authentication = (code: number) => frames().find(f => f.type === 'R' && codeOf(f) === code);
  /** @returns undefined when the server has hung up instead */
  const wait = <T>(what: string, probe: () => T | undefined) =>
    until(() => probe() ?? (ended ? 'over' : undefined), { what, deadlineMs: 60_000 }).then(found =>
      found === 'over' ? probe() : (found as T),
    );
  let last: string | undefined;
  let asked: string | undefined;
  const tell = (): Told => ({ frames: frames(), last, asked });
  try {
    await once(socket, 'secureConnect');
    const endPoint = o.endPoint ?? createHash('sha256').update(socket.getPeerCertificate(true).raw).digest();
    socket.write(startupMessage(o.params, o.version));
    if ((await wait('SASL', () => authentication(10))) === undefined) return tell();
    const { mechanism = 'SCRAM-SHA-256-PLUS' } = o;
    const { header = mechanism.endsWith('PLUS') ? 'p=tls-server-end-point,,' : 'n,,' } = o;
    const bare = `n=,r=${o.nonce ?? randomBytes(18).toString('base64')}`;
    const first = Buffer.from(header + bare);
    socket.write(message('p', Buffer.concat([cstring(mechanism), int32(first.length), first])));
    const challenge = await wait('a challenge', () => authentication(11));
    if (challenge === undefined) return tell();
    const theirs = challenge.body.toString('latin1', 4);
    const [, nonce, salt, iterations] = /^r=(.*),s=(.*),i=(\d+)$/.exec(theirs)!;
    asked = `${salt} ${iterations}`;
    const bound = header.startsWith('p')
      ? Buffer.concat([Buffer.from(header), endPoint])
      : Buffer.from(header);
    const without = `c=${bound.toString('base64')},r=${nonce}`;
    const proof = proofOf(o.password, salt!, Number(iterations), `${bare},${theirs},${without}`);
    last = `${without},p=${proof}`;
    last = (await o.last?.(last, theirs)) ?? last;
    socket.write(message('p', Buffer.from(last)));
    await wait('an end', () => frames().find(f => f.type === 'Z'));
    return tell();
  } finally {
    socket.destroy();
  }
}

// --- internal ------------------------------------------------------------------------------------

function proofOf(password: string, salt: string, iterations: number, text: string): string {
  const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest();
  const signature = createHmac('sha256', storedKey).update(text).digest();
  return Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64');
}
