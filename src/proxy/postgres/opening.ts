/** Reads what a client says first, until it is clear what it wants. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { OffshootError } from '../../model/errors.ts';
import { type Opening, parseOpening } from './codec.ts';

/**
 * Requests for encryption are answered with "no", each kind at most once. Whatever the client sends behind
 * its startup message stays in `client` to be read.
 * @throws OffshootError gateway/bad-startup, gateway/unsupported-protocol; AbortError.
 */
export async function readOpening(
  client: Socket,
  signal: AbortSignal,
): Promise<Exclude<Opening, { kind: 'encryption' }>> {
  const refused = new Set<string>();
  let bytes = await readSome(client, signal);
  for (;;) {
    const parsed = parseOpening(bytes);
    if (parsed === undefined) {
      bytes = Buffer.concat([bytes, await readSome(client, signal)]);
      continue;
    }
    const { opening, size } = parsed;
    if (opening.kind !== 'encryption') {
      if (bytes.length > size) client.unshift(bytes.subarray(size));
      return opening;
    }
    const { method } = opening;
    if (refused.has(method)) throw bad(`a second ${method} request`);
    // A client waits for the answer. Bytes that are here already were put in by somebody in the middle, hoping
    // that they are taken for encrypted ones (CVE-2021-23222).
    if (bytes.length > size) throw bad(`data directly behind the ${method} request`);
    refused.add(method);
    client.write('N');
    bytes = await readSome(client, signal);
  }
}

// --- internal ------------------------------------------------------------------------------------

const bad = (why: string) => new OffshootError('gateway/bad-startup', { why });

/** Waits for 'readable', not for 'data': what is not read stays in the socket, and its end is still seen. */
async function readSome(client: Socket, signal: AbortSignal): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = client.read();
    if (bytes !== null) return bytes;
    await once(client, 'readable', { signal });
  }
}
