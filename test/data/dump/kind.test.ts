import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { dumpKind, unpacked } from '../../../src/data/dump/kind.ts';
import { openDump } from '../../../src/data/dump/open.ts';
import { lookAtDump } from '../../../src/data/dump.ts';
import { tempDir } from '../../support/temp.ts';

const SQL =
  '--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.18 (Debian)\n\nSELECT 1;\n';

/** The head of an archive as pg_dump writes it (pg_backup_archiver.c, WriteHead). */
function archive(by: string, minor = 15): Buffer {
  const int = (value: number) => Buffer.from([0, value & 255, (value >> 8) & 255, 0, 0]);
  const text = (value: string) => Buffer.concat([int(value.length), Buffer.from(value)]);
  return Buffer.concat([
    Buffer.from('PGDMP'),
    Buffer.from([1, minor, 0, 4, 8, 1]),
    ...(minor >= 15 ? [Buffer.from([1])] : [int(6)]),
    ...Array.from({ length: 7 }, () => int(1)),
    ...[text('staging'), text('15.18 (Debian)'), text(by)],
  ]);
}

function tar(first: string, content: Buffer): Buffer {
  const head = Buffer.alloc(512);
  head.write(first);
  head.write('ustar', 257);
  return Buffer.concat([head, content, Buffer.alloc(1024)]);
}

test('a dump is told by its first bytes', async t => {
  await using dir = await tempDir();
  let count = 0;
  const folderOf = async (files: Readonly<Record<string, Buffer | string>>): Promise<string> => {
    const folder = join(dir.path, String(count++));
    await mkdir(folder);
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes);
    return folder;
  };
  const kindOf = async (dump: Buffer | string) => {
    const { path: _, bytes: __, ...kind } = await dumpKind(await folderOf({ dump }));
    return kind;
  };
  const head = { version: '15.18', major: 18, database: 'staging' };

  await t.test('what is one', async () => {
    const plain = { format: 'plain', version: '15.18' };
    assert.deepEqual(await kindOf(SQL), plain);
    assert.deepEqual(await kindOf(gzipSync(SQL)), { ...plain, packed: 'gzip' });
    assert.deepEqual(await kindOf(zstdCompressSync(SQL)), { ...plain, packed: 'zstd' });
    assert.deepEqual(await kindOf('SELECT 1;'), { format: 'plain' });
    assert.deepEqual(await kindOf(archive('18.4')), { format: 'custom', ...head });
    assert.deepEqual(await kindOf(archive('15.18', 14)), { format: 'custom', ...head, major: 15 });
    assert.deepEqual(await kindOf(gzipSync(archive('18.4'))), { format: 'custom', packed: 'gzip', ...head });
    assert.deepEqual(await kindOf(tar('toc.dat', archive('18.4'))), { format: 'tar', ...head });
    const folder = await folderOf({ 'toc.dat': archive('18.4'), '1.dat.gz': 'x' });
    const found = await dumpKind(folder);
    assert.deepEqual([found.format, found.path, found.major], ['directory', folder, 18]);
  });

  await t.test('what is none says what it is', async () => {
    const cases: readonly (readonly [Buffer | string, RegExp])[] = [
      ['', /it is empty/],
      [Buffer.from([0xfd, ...Buffer.from('7zXZ'), 0, 1]), /compressed by xz.*--from -/],
      ['PK\x03\x04rest', /compressed by zip/],
      [Buffer.from('\ufeffSELECT 1', 'utf16le'), /UTF-16/],
      ['SQLite format 3\0rest', /SQLite/],
      ['-- MySQL dump 10.13\n', /MySQL/],
      ['some\0thing', /neither SQL nor an archive/],
      [tar('etc/passwd', Buffer.from('x')), /a tar that begins with passwd/],
      [Buffer.from('PGDMP\x01\x02\0\x04\x08\x01'), /format 1\.2 is older/],
      [gzipSync(SQL).subarray(0, 5), /unexpected end/],
    ];
    for (const [dump, why] of cases)
      await assert.rejects(kindOf(dump), (error: Error & { code: string }) => {
        assert.equal(error.code, 'import/bad-dump');
        assert.match(error.message, why);
        return true;
      });
    const folder = await folderOf({ a: '1', b: '2' });
    await assert.rejects(dumpKind(folder), /a folder with 2 files, none of which is toc\.dat/);
    await assert.rejects(dumpKind(await folderOf({ 'toc.dat': 'x' })), /its toc\.dat is no archive/);
  });

  await t.test('before anything is made: what reads it, and what cannot be asked of it', async () => {
    const places = { env: { PATH: '' }, cwd: '/' };
    const sql = await folderOf({ dump: SQL });
    assert.deepEqual(await lookAtDump(sql, {}, places), {});
    const [newer, known] = [
      await folderOf({ dump: archive('99.1') }),
      await folderOf({ dump: archive('15.1') }),
    ];
    await assert.rejects(lookAtDump(newer, {}, places), (error: Error & { code: string; hint: string }) => {
      assert.equal(error.code, 'import/no-restore-tool');
      assert.match(error.message, /pg_dump 99/);
      return /--from -/.test(error.hint);
    });
    const bin = join(dir.path, 'pg_restore');
    await writeFile(bin, '#!/bin/sh\necho "pg_restore (PostgreSQL) 15.2"\n', { mode: 0o755 });
    const here = { env: { OFFSHOOT_CLIENT_TOOLS: dir.path }, cwd: '/' };
    const { tool, database } = await lookAtDump(known, {}, here);
    assert.ok(tool !== undefined && /pg_restore$/.test(tool));
    assert.equal(database, 'staging');
    const options = [
      { mask: { tables: {} } },
      { tables: ['a'] },
      { where: { a: 'b' } },
      { verify: true },
      { jobs: 2 },
    ];
    for (const option of options)
      await assert.rejects(lookAtDump(sql, option, places), { code: 'import/file-option' });
  });

  await t.test('zstd in several frames, with some that hold nothing, comes whole or not at all', async () => {
    const noise = randomBytes(300_000);
    const skipped = Buffer.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const packed = Buffer.concat([
      ...[skipped, zstdCompressSync(Buffer.alloc(500_000, 'a')), zstdCompressSync(''), skipped],
      ...[zstdCompressSync(noise, { params: CHECKSUM }), zstdCompressSync('end\n')],
    ]);
    const unpack = async (bytes: Buffer, size: number) => {
      const pieces = function* () {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      };
      return Buffer.concat(await unpacked(Readable.from(pieces()), 'zstd').toArray());
    };
    const whole = Buffer.concat([Buffer.alloc(500_000, 'a'), noise, Buffer.from('end\n')]);
    for (const size of [97, 1_000, 1 << 20]) assert.ok(whole.equals(await unpack(packed, size)), `${size}`);
    for (const cut of [1, 5, 14, 30, 100_000])
      await assert.rejects(unpack(packed.subarray(0, -cut), 65_536), /unexpected end of file/, `${cut}`);
    await assert.rejects(unpack(Buffer.concat([packed, Buffer.from('junk')]), 65_536), /is none/);
    const bad = Buffer.from(packed);
    bad[bad.length - 60_000]! ^= 1;
    await assert.rejects(unpack(bad, 65_536));
  });

  await t.test('what pg_dump has written is whole by its last words, a cluster by its own', async () => {
    const end = (of = '') => `\n--\n-- PostgreSQL database ${of}dump complete\n--\n\n\\unrestrict x\n`;
    const cluster = SQL.replace('database dump', 'database cluster dump');
    const cases: readonly (readonly [string, boolean])[] = [
      ['SELECT 1;\n', true],
      [SQL, false],
      [SQL + end(), true],
      [cluster + end(), false],
      [cluster + end() + end('cluster '), true],
    ];
    for (const [text, isWhole] of cases) {
      const kind = await dumpKind(await folderOf({ dump: text }));
      const dump = openDump(kind, undefined, {}, AbortSignal.timeout(60_000));
      for await (const _ of dump.sql);
      assert.equal(dump.ends.whole, isWhole, text);
      assert.equal(await dump.readBytes(), text.length);
    }
  });
});

// --- internal -----------------------------------------------------------------------------------

/** ZSTD_c_checksumFlag */
const CHECKSUM = { 201: 1 };
