/** Whom a system trusts: in a folder that looks like one, with programs that write down how they were called. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readAuthority, trustAuthority } from '../../src/cli/trust.ts';
import { createAuthority } from '../../src/lib/x509.ts';
import { runCli } from '../support/cli.ts';
import { tempDir } from '../support/temp.ts';

const validity = { from: Date.now() - 86_400_000, until: Date.now() + 86_400_000 };
const issued = createAuthority('Offshoot CA test', validity);
const ours = readAuthority(issued.certificate);

/** A system with this folder. `calls` are those of the program that it has for it. */
function system(root: string, folder: string, program: string, exit = 0) {
  const [place, bin] = [join(root, folder), join(root, 'bin')];
  for (const path of [place, bin]) mkdirSync(path, { recursive: true });
  const calls = join(root, 'calls');
  // What is in the folder when it is called, too.
  const script = `#!/bin/sh\necho "${program} $* ($(/bin/ls ${place}))" >> ${calls}\necho "it cannot" >&2\nexit ${exit}\n`;
  writeFileSync(join(bin, program), script);
  chmodSync(join(bin, program), 0o755);
  return {
    place,
    how: { root, path: bin },
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
  };
}

test('each system is told in its own way, and told again when it shall not any more', async () => {
  for (const [folder, program, install, uninstall] of [
    ['usr/local/share/ca-certificates', 'update-ca-certificates', '', '--fresh'],
    ['etc/pki/ca-trust/source/anchors', 'update-ca-trust', 'extract', 'extract'],
    ['etc/pki/trust/anchors', 'update-ca-certificates', '', ''],
    ['etc/ca-certificates/trust-source/anchors', 'update-ca-trust', 'extract', 'extract'],
  ] as const) {
    await using dir = await tempDir();
    const { place, how, calls } = system(dir.path, folder, program);
    writeFileSync(join(place, 'theirs.crt'), 'of somebody else');
    const file = await trustAuthority(ours, true, how);
    assert.equal(await trustAuthority(ours, true, how), file);
    assert.equal(readAuthority(readFileSync(file, 'utf8')).fingerprint256, ours.fingerprint256);
    await trustAuthority(ours, false, how);
    assert.deepEqual(readdirSync(place), ['theirs.crt']);
    const name = file.slice(place.length + 1);
    assert.match(name, /^offshoot-[0-9a-f]{16}\.crt$/);
    assert.deepEqual(calls(), [
      ...Array(2).fill(`${program} ${install} (${name}\ntheirs.crt)`).join('\n').split('\n'),
      `${program} ${uninstall} (theirs.crt)`,
    ]);
  }
});

test('macOS takes it by name, and away again', async () => {
  await using dir = await tempDir();
  const { how, calls } = system(dir.path, 'Library/Keychains', 'security');
  const file = await trustAuthority(ours, true, how);
  await trustAuthority(ours, false, how);
  assert.equal(existsSync(file), false);
  assert.deepEqual(
    calls().map(call => call.replace(/ \(.*/, '')),
    [
      `security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${file}`,
      `security remove-trusted-cert -d ${file}`,
    ],
  );
});

test('what cannot be done says why', async () => {
  await using dir = await tempDir();
  const none = { root: dir.path, path: dir.path };
  await assert.rejects(trustAuthority(ours, true, none), { code: 'trust/unknown-system' });
  const folder = 'usr/local/share/ca-certificates';
  const { how } = system(dir.path, folder, 'update-ca-certificates', 3);
  await assert.rejects(trustAuthority(ours, true, how), {
    ...{ code: 'trust/failed', message: 'update-ca-certificates failed: it cannot' },
  });
  // Nobody makes files there, root neither.
  await using locked = await tempDir();
  mkdirSync(join(locked.path, 'usr/local/share'), { recursive: true });
  symlinkSync('/sys', join(locked.path, folder));
  await assert.rejects(trustAuthority(ours, true, { ...how, root: locked.path }), {
    code: 'trust/not-allowed',
  });
});

test('only an authority of ours is trusted, and never a key', async () => {
  const other = createAuthority('Another CA', validity);
  for (const pem of ['', 'nonsense', issued.certificate + issued.certificate, other.certificate])
    assert.throws(() => readAuthority(pem), { code: 'trust/no-authority' });
  assert.throws(() => readAuthority(issued.certificate + issued.key), {
    ...{ code: 'trust/no-authority', message: /holds a key/ },
  });
  await using dir = await tempDir();
  writeFileSync(join(dir.path, 'key.pem'), issued.key);
  const { code, stderr } = await runCli(['ca', '--install', 'key.pem'], { cwd: dir.path });
  assert.equal(code, 2);
  assert.match(stderr, /this is not to be trusted: it holds a key/);
  assert.equal((await runCli(['ca', '--install', 'a', '--uninstall', 'b'])).code, 2);
});
