import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCli } from '../../src/cli/context.ts';
import { seeImport } from '../../src/cli/import-wait.ts';
import { createProject } from '../../src/rules/branches.ts';
import { newImport } from '../../src/rules/imports.ts';
import { testApi } from '../support/api.ts';

const server = { host: 'h', port: 1, user: 'u', database: 'd', sslmode: 'disable' } as const;

const READY = { state: 'ready', reason: '', message: '', conditions: [], observedGeneration: 1 } as const;

test('where nothing comes from elsewhere, that is said; and so is what came of an import', async () => {
  await using api = await testApi();
  await assert.rejects(api.client.projects.refresh('default'), { code: 'import/no-source' });
  await assert.rejects(api.client.projects.create({ name: 'shop', postgres: '15' }), {
    code: 'postgres/not-here',
  });
  const from = { server, password: 'secret' };
  await assert.rejects(api.client.projects.create({ name: 'shop', from }), { code: 'import/not-here' });

  await assert.rejects(api.client.uploads.begin({ bytes: 1 }), { code: 'import/not-here' });
  const sent = newImport(undefined, { file: 'shop.dump', upload: 'x' }, {});
  await createProject(api.store, 'sent', { database: 'app', role: 'app', import: sent });
  assert.equal((await api.client.projects.get('sent')).import?.source, 'the file shop.dump');
  const filled = api.store.list('branch').find(b => b.spec.project === 'sent');
  await api.store.modify('branch', filled!.name, () => ({
    status: { ...READY, import: { count: 1, state: 'done' } },
  }));
  await assert.rejects(api.client.projects.refresh('sent'), { code: 'import/file-gone' });

  const spec = { database: 'app', role: 'app', import: newImport(undefined, server, { exclude: ['a'] }) };
  await createProject(api.store, 'shop', spec, { sealed: ['offshoot-sealed x'] });
  const found = await api.client.projects.get('shop');
  assert.equal(found.import?.state, 'waiting');
  assert.equal(found.import?.source, 'u@h:1/d');
  assert.doesNotMatch(JSON.stringify(found), /sealed/);

  const main = api.store.list('branch').find(b => b.spec.project === 'shop');
  const now = { tables: 0, tablesDone: 0, rows: 5, bytes: 1024, sourceBytes: 2048, now: [] };
  const failed = {
    ...({ count: 1, state: 'failed', message: 'the disk is full', hint: 'make room' } as const),
    progress: { phase: 'file', ...now },
  } as const;
  const status = { state: 'failed', reason: '', message: '', conditions: [], observedGeneration: 1 } as const;
  await api.store.modify('branch', main!.name, () => ({ status: { ...status, import: failed } }));
  let said = '';
  const write = (text: string) => {
    said += text;
    return true;
  };
  const quiet = { write } as unknown as NodeJS.WritableStream;
  const cli = createCli({
    ...{ env: { OFFSHOOT_API_URL: api.url, OFFSHOOT_API_KEY: api.apiKey }, cwd: '/', uid: 1 },
    ...{ stdout: quiet, stderr: quiet, stdin: process.stdin, signal: AbortSignal.timeout(60_000) },
  });
  const seeing = seeImport(cli, { project: 'shop', count: 1, from: 'shop.dump', giveUp: 'cancel' });
  await assert.rejects(seeing, (error: Error & { code: string; hint: string }) => {
    assert.equal(error.code, 'import/ended');
    assert.match(error.message, /the disk is full/);
    return error.hint === 'make room';
  });
  assert.match(
    said,
    /✓ kind of dump[\s\S]*✗ dump loaded: 1 KiB of 2 KiB, 5 rows/,
    'the step that failed says so',
  );
});
