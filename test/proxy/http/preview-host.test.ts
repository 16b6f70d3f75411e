import assert from 'node:assert/strict';
import { test } from 'node:test';
import { previewLabelOf } from '../../../src/proxy/http/preview-host.ts';

test('hosts of previews', () => {
  for (const host of [
    'users-api--xata-test.preview.localhost',
    'users-api--xata-test.preview.localhost:7480',
    'users-api--xata-test.preview.localhost.',
    'Users-API--Xata-Test.Preview.LocalHost.:80',
  ])
    assert.equal(previewLabelOf(host, 'localhost'), 'users-api--xata-test', host);
  assert.equal(previewLabelOf('a--b.preview.dev.example', 'Dev.example'), 'a--b');
});

test('other hosts', () => {
  for (const host of [
    'localhost',
    '127.0.0.1:7480',
    'preview.localhost',
    '.preview.localhost',
    'users-api.preview.localhost',
    'users--x.localhost',
    'x.users--x.preview.localhost',
    'users--x.preview.localhost.evil.example',
    'users--x.preview.localhosts',
    'users--x-preview.localhost',
  ])
    assert.equal(previewLabelOf(host, 'localhost'), undefined, host);
});
