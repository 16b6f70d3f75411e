/** Certificates as OpenSSL (inside of node) sees them. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import * as der from '../../src/lib/der.ts';
import { createAuthority, issueServer } from '../../src/lib/x509.ts';
import { validity } from '../support/certificates.ts';

const at = (year: number) => Date.UTC(year, 0, 2, 3, 4, 5);

test('an authority is one, and a server is none', () => {
  const authority = createAuthority('Offshoot CA münchen', validity());
  const ca = new X509Certificate(authority.certificate);
  assert.deepEqual([ca.ca, ca.subject, ca.issuer], [true, 'CN=Offshoot CA münchen', ca.subject]);
  assert.ok(ca.verify(ca.publicKey));
  const issued = issueServer(authority, ['localhost'], validity());
  const server = new X509Certificate(issued.certificate);
  assert.deepEqual([server.ca, server.keyUsage], [false, ['1.3.6.1.5.5.7.3.1']]);
  assert.ok(server.checkIssued(ca) && server.verify(ca.publicKey));
  assert.notEqual(server.serialNumber, ca.serialNumber);
});

test('a server proves its names and addresses, and no others', () => {
  const names = ['dev.example.com', '*.dev.example.com', '10.1.2.3', '::1', 'fd00:0:0:1::2'];
  const { certificate } = issueServer(createAuthority('CA', validity()), names, validity());
  const server = new X509Certificate(certificate);
  for (const host of ['dev.example.com', 'x.dev.example.com']) assert.ok(server.checkHost(host), host);
  for (const host of ['example.com', 'x.y.dev.example.com']) assert.equal(server.checkHost(host), undefined);
  for (const ip of ['10.1.2.3', '::1', 'fd00:0:0:1::2']) assert.ok(server.checkIP(ip), ip);
  for (const ip of ['10.1.2.4', '::2']) assert.equal(server.checkIP(ip), undefined, ip);
});

test('times before and after 2050 are the ones that were asked for', () => {
  const { certificate } = createAuthority('CA', { from: at(2031), until: at(2061) });
  const { validFromDate, validToDate } = new X509Certificate(certificate);
  assert.deepEqual([validFromDate.getTime(), validToDate.getTime()], [at(2031), at(2061)]);
});

test('values have the one encoding that DER allows', () => {
  const hex = (bytes: Buffer) => bytes.toString('hex');
  assert.equal(hex(der.integer(Uint8Array.of(0, 0, 0x80))), '02020080');
  assert.equal(hex(der.integer(Uint8Array.of(0))), '020100');
  assert.equal(hex(der.bits([0, 0, 0, 0, 0, 1, 1])), '03020106');
  assert.equal(hex(der.bits([0, 0])), '030100');
  assert.equal(hex(der.oid('1.2.840.10045.4.3.2')), '06082a8648ce3d040302');
  assert.equal(hex(der.octets(Buffer.alloc(127)).subarray(0, 2)), '047f');
  assert.equal(hex(der.octets(Buffer.alloc(128)).subarray(0, 3)), '048180');
  assert.equal(hex(der.octets(Buffer.alloc(256)).subarray(0, 4)), '04820100');
});
