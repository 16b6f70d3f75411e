/**
 * What is on the disk when the power is cut: of each block either what the last sync made durable or something newer, in
 * any mixture. Every sync is such a moment here: mixtures of both are put together by chance, and opened.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openStore } from '../../src/store/sqlite.ts';
import { chance } from '../support/random.ts';
import { tempDir } from '../support/temp.ts';

const sector = 512;
const random = chance(7);

test('a power cut at any moment loses nothing that was acknowledged, and leaves the file whole', async () => {
  await using dir = await tempDir();
  const file = join(dir.path, 'state.db');
  const copies = join(dir.path, 'copies');
  await mkdir(copies);
  /** What was acknowledged, as version by name; only intent counts. */
  const acknowledged = new Map<string, number>();
  const durable = new Map<string, Buffer>();
  let cuts = 0;
  let lastSync = '';
  let sinceFile = 0;

  const sync = async (fd: number) => {
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    // Most can go wrong while the file changes, and when the log begins anew.
    const delicate = path === file || sinceFile < 3;
    for (let i = 0; i < (delicate ? 12 : 1); i++) await cut();
    sinceFile = path === file ? 0 : sinceFile + 1;
    lastSync = path;
    if (path !== dir.path) durable.set(path, readFileSync(path));
  };
  const cut = async () => {
    cuts += 1;
    const copy = join(copies, `${cuts}.db`);
    for (const suffix of ['', '-wal']) {
      const old = durable.get(`${file}${suffix}`);
      // Before its name is durable a file may be missing, unless something else has been acknowledged.
      if (old === undefined && acknowledged.size === 0 && random.often(50)) continue;
      if (existsSync(`${file}${suffix}`))
        writeFileSync(`${copy}${suffix}`, mixture(old, readFileSync(`${file}${suffix}`)));
    }
    const where = `cut ${cuts}, before or after a sync of ${lastSync}`;
    try {
      if (acknowledged.size === 0) return;
      const found = openStore(copy, { sync: async () => {} });
      for (const [name, version] of acknowledged) {
        const there = found.get('branch', name)?.version ?? 0;
        assert.ok(there >= version, `${name} has ${there}, ${version} was acknowledged: ${where}`);
      }
      for (const { name, status } of found.list('branch')) {
        const parts = new Set(status?.message.trim().split(' '));
        assert.ok(parts.size <= 1, `${name} has a mixture of statuses: ${where}`);
      }
      await found.close();
      const db = new DatabaseSync(copy);
      assert.equal(db.prepare('PRAGMA integrity_check').get()?.integrity_check, 'ok', where);
      db.close();
    } finally {
      for (const suffix of ['', '-wal']) await rm(`${copy}${suffix}`, { force: true });
    }
  };

  const store = openStore(file, { sync });
  const spec = { project: 'p', name: 'x' };
  const status = { state: 'ready', reason: 'R', message: '', conditions: [], observedGeneration: 1 } as const;
  // So many that most pages are changed once between two copies of the log into the file.
  const names = Array.from({ length: 150 }, (_, i) => `b${i}`);
  const first = { spec, status: null, secret: { password: 'x'.repeat(1_500) } };
  const made = await Promise.all(names.map(name => store.create('branch', name, first)));
  for (const { name, version } of made) acknowledged.set(name, version);
  for (let n = 0; n < 20; n++) {
    const name = random.pick(names);
    const secret = { password: `${n}${'x'.repeat(random.pick([500, 2_000, 20_000]))}` };
    acknowledged.set(name, (await store.modify('branch', name, () => ({ secret })))!.version);
    // Not synced: it may get lost, and must not take anything with it.
    for (let i = 0; i < 6; i++) {
      const message = `${n}/${i} `.repeat(random.pick([100, 1_000, 3_000]));
      await store.modify('branch', random.pick(names), () => ({ status: { ...status, message } }));
    }
  }
  await store.close();
  assert.ok(cuts > 80, `only ${cuts} cuts`);
});

/** Each sector old or new, by chance; so is the length. */
function mixture(old: Buffer | undefined, now: Buffer): Buffer {
  if (old === undefined) return now;
  const length = random.often(50) ? now.length : Math.max(old.length, random.below(now.length));
  const mixed = Buffer.alloc(length);
  const share = random.below(101); // sometimes nearly all is old, sometimes nearly all new
  for (let at = 0; at < length; at += sector) {
    const from = random.often(share) && at < old.length ? old : now;
    from.copy(mixed, at, at, Math.min(at + sector, length));
  }
  return mixed;
}
