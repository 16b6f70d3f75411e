/**
 * Two sockets of one process, joined: what is written to one is read from the other, at the reader's pace. They are
 * what their users need of `net.Socket`, for code that serves or uses connections and shall not care where they come from.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/**
 * As from a server that allows half-open connections, and from `connect`.
 * @param peer address that the first one, the server's, has as its peer's
 */
export function socketPair(peer: string): readonly [Socket, Socket] {
  const one = new End(peer, true);
  const other = new End('', false);
  one.other = other;
  other.other = one;
  // What is left out (addresses, counts of bytes, times) is read by nobody who gets one of these.
  return [one as unknown as Socket, other as unknown as Socket];
}

// --- internal ------------------------------------------------------------------------------------

class End extends Duplex {
  other: End | undefined;
  readonly remoteAddress: string;
  /** Of the other side's last write, called when there is room again. */
  #taken: (() => void) | undefined;

  constructor(remoteAddress: string, allowHalfOpen: boolean) {
    super({ allowHalfOpen });
    this.remoteAddress = remoteAddress;
  }

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const other = this.other!;
    if (other.destroyed) done(gone('EPIPE'));
    else if (other.push(chunk)) done();
    else other.#taken = done;
  }

  override _final(done: () => void): void {
    if (!this.other!.destroyed) this.other!.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    done(error);
    this.#taken?.();
    // It had not said all: as from a peer that is gone. Else the other side has read its end, or will.
    const other = this.other!;
    if (!this.writableFinished) setImmediate(() => other.destroy(gone('ECONNRESET')));
  }

  /** As of a socket: closes when everything that was written is on its way. */
  destroySoon(): void {
    if (this.writableFinished) return void this.destroy();
    this.once('finish', () => this.destroy());
    this.end();
  }

  /** For clients that would connect it: it is. */
  connect(): this {
    process.nextTick(() => this.emit('connect'));
    return this;
  }

  setNoDelay = (): this => this;
  setKeepAlive = (): this => this;
  ref = (): this => this;
  unref = (): this => this;
}

const gone = (code: 'EPIPE' | 'ECONNRESET'): Error =>
  Object.assign(new Error(`the other end of the connection is closed`), { code });
