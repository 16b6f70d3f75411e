import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { it } from 'node:test';
import { scramVerifier } from '../../src/lib/scram.ts';

type Session = { readonly clientNonce: string; readonly response: string };

/** The client's side, of node-postgres, which publishes no types for it. */
const sasl: {
  startSession(mechanisms: readonly string[]): Session;
  continueSession(session: Session, password: string, serverFirst: string): Promise<void>;
  finalizeSession(session: Session, serverFinal: string): void;
} = createRequire(import.meta.url)('pg/lib/crypto/sasl.js');

/** A login of node-postgres at a server that knows only `verifier` (RFC 5802 §3). @throws when either side refuses */
async function login(verifier: string, password: string): Promise<void> {
  const [, iterations, salt, storedKey, serverKey] = /^SCRAM-SHA-256\$(\d+):(.+)\$(.+):(.+)$/.exec(verifier)!;
  const mac = (key: string, text: string) =>
    createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest();
  const session = sasl.startSession(['SCRAM-SHA-256']);
  const first = `r=${session.clientNonce}server,s=${salt},i=${iterations}`;
  await sasl.continueSession(session, password, first);
  const [withoutProof, proof] = session.response.split(',p=');
  const message = [`n=*,r=${session.clientNonce}`, first, withoutProof].join(',');
  const signature = mac(storedKey!, message);
  const clientKey = Buffer.from(proof!, 'base64').map((byte, i) => byte ^ signature[i]!);
  assert.equal(createHash('sha256').update(clientKey).digest('base64'), storedKey, 'the server refuses');
  sasl.finalizeSession(session, `v=${mac(serverKey!, message).toString('base64')}`);
}

it('lets the password in, and no other', async () => {
  const verifier = await scramVerifier('pencil');
  await login(verifier, 'pencil');
  await assert.rejects(login(verifier, 'Pencil'), { message: /the server refuses/ });
});

it('never makes the same twice, and does not hold the password', async () => {
  const [one, two] = [await scramVerifier('pencil'), await scramVerifier('pencil')];
  assert.notEqual(one, two);
  assert.doesNotMatch(one, /pencil/);
});

it('refuses what SASLprep might change', async () => {
  for (const password of ['', 'a b', 'pässword']) await assert.rejects(scramVerifier(password), TypeError);
});
