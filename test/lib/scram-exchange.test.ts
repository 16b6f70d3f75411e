/** The two ends of SCRAM-SHA-256 against the example of RFC 7677 §3, and what ends it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkClientFinal,
  clientFinal,
  keysOf,
  newClientFirst,
  parseClientFirst,
  parseVerifier,
  scramVerifier,
  serverFirst,
  type Verifier,
} from '../../src/lib/scram.ts';

const verifier = parseVerifier(await scramVerifier('pencil', 4096))!;
const binding = Buffer.from('the hash of a certificate');

function answer(
  header: string,
  { endPoint, change = text => text }: { endPoint?: Buffer; change?: (text: string) => string } = {},
) {
  const first = parseClientFirst(`${header}n=,r=abc`)!;
  const ours = serverFirst(verifier, `${first.nonce}def`);
  const keyOf = (salt: Buffer, iterations: number) => keysOf('pencil', salt, iterations);
  const sent = header.startsWith('p') ? `${header}${binding.toString('latin1')}` : header;
  const { text } = clientFinal({ ...first, header: sent }, ours, keyOf)!;
  return checkClientFinal(change(text), { first, ours, verifier, endPoint });
}

test('the example of RFC 7677', () => {
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const { clientKey, serverKey } = keysOf('pencil', salt, 4096);
  const first = {
    header: 'n,,',
    bare: 'n=user,r=rOprNGfwEbeRWgbNEkqO',
    nonce: 'rOprNGfwEbeRWgbNEkqO',
    binding: 'n' as const,
  };
  const theirs = `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
  const final = clientFinal(first, theirs, () => ({ clientKey, serverKey }))!;
  assert.equal(final.text, `c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`);
  assert.equal(final.answer, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
});

test('who proves it gives away what opens the same elsewhere, and not the password', () => {
  const proved = answer('n,,')!;
  const { clientKey, serverKey } = keysOf('pencil', verifier.salt, verifier.iterations);
  assert.deepEqual(proved.clientKey, clientKey);
  const first = newClientFirst();
  const ours = serverFirst(verifier, `${first.nonce}more`);
  const elsewhere = clientFinal(first, ours, () => ({ clientKey, serverKey }))!;
  assert.equal(checkClientFinal(elsewhere.text, { first, ours, verifier })!.answer, elsewhere.answer);
});

test('a binding must be the one of the connection', () => {
  const bound = 'p=tls-server-end-point,,';
  assert.ok(answer(bound, { endPoint: binding }));
  assert.equal(answer(bound, { endPoint: Buffer.from('another') }), undefined);
  assert.ok(answer('y,,'));
});

test('what is changed on the way is refused', () => {
  for (const change of [
    (text: string) => text.replace('c=biws', 'c=eSws'),
    (text: string) => text.replace('r=abc', 'r=abd'),
    (text: string) => text.replace(/p=.*/, 'p=AAAA'),
    (text: string) => text.replace(/p=./, 'p=/'),
    (text: string) => `${text},x=1`,
    () => '',
  ])
    assert.equal(answer('n,,', { change }), undefined, change.toString());
  const broken: Verifier = { ...verifier, storedKey: Buffer.alloc(3) };
  const first = newClientFirst();
  const ours = serverFirst(broken, `${first.nonce}x`);
  const { text } = clientFinal(first, ours, (salt, i) => keysOf('pencil', salt, i))!;
  assert.equal(checkClientFinal(text, { first, ours, verifier: broken }), undefined);
});

test('what is none of it is seen', () => {
  for (const text of ['md5abc', '', 'SCRAM-SHA-256$x:a$b:c', 'SCRAM-SHA-256$4096:a$b'])
    assert.equal(parseVerifier(text), undefined);
  for (const text of [
    'n,,',
    'n,a=x,n=,r=x',
    'p=tls-unique,,n=,r=x',
    'n,,n=,r=',
    'n,,n=,r=a,b',
    'n,,m=x,n=,r=a',
  ])
    assert.equal(parseClientFirst(text), undefined, text);
  const first = newClientFirst();
  const keyOf = () => assert.fail('no key is asked for');
  for (const text of [
    '',
    'r=other,s=AA==,i=1',
    `r=${first.nonce}x,s=AA==,i=x`,
    `r=${first.nonce}x,s=AA==,i=1,m=1`,
  ])
    assert.equal(clientFinal(first, text, keyOf), undefined, text);
});
