import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { apiKeyOf, rememberKeys, withoutApiKeys } from '../../../src/proxy/http/preview-key.ts';

suite('an API key', () => {
  const cases: readonly (readonly [string, readonly string[], string | undefined, readonly string[]])[] = [
    ['nothing', ['Accept', '*/*'], undefined, ['Accept', '*/*']],
    ['signadot-api-key', ['Signadot-Api-Key', 'ofs_1', 'A', 'b'], 'ofs_1', ['A', 'b']],
    ['offshoot-api-key', ['offshoot-api-key', 'ofs_1'], 'ofs_1', []],
    ['a bearer token of ours', ['Authorization', 'bearer ofs_1'], 'ofs_1', []],
    [
      'a bearer token of the application',
      ['Authorization', 'Bearer eyJ'],
      undefined,
      ['Authorization', 'Bearer eyJ'],
    ],
    ['another scheme', ['Authorization', 'Basic ofs_1'], undefined, ['Authorization', 'Basic ofs_1']],
    [
      'a key, and a token of the application',
      ['signadot-api-key', 'ofs_1', 'authorization', 'Bearer eyJ'],
      'ofs_1',
      ['Authorization', 'Bearer eyJ'],
    ],
    ['a key in several places', ['Authorization', 'Bearer ofs_2', 'signadot-api-key', 'ofs_1'], 'ofs_1', []],
  ];
  for (const [name, headers, apiKey, rest] of cases)
    test(name, () => assert.deepEqual([apiKeyOf(headers), withoutApiKeys(headers)], [apiKey, rest]));
});

suite('rememberKeys', () => {
  test('asks once per key within the time, for good and for wrong keys', async () => {
    const asked: string[] = [];
    let time = 0;
    const check = rememberKeys(async key => asked.push(key) > 0 && key === 'good', {
      ttlMs: 100,
      now: () => time,
    });
    assert.deepEqual(await Promise.all(['good', 'good', 'wrong', 'wrong'].map(check)), [
      true,
      true,
      false,
      false,
    ]);
    time = 99;
    assert.equal(await check('good'), true);
    assert.deepEqual(asked, ['good', 'wrong']);
    time = 100;
    assert.equal(await check('good'), true);
    assert.deepEqual(asked, ['good', 'wrong', 'good']);
  });

  test('keeps a bounded number of keys, the newest', async () => {
    const asked: string[] = [];
    const check = rememberKeys(async key => asked.push(key) > 0, { max: 2, now: () => 0 });
    for (const key of ['a', 'b', 'c', 'b', 'a']) await check(key);
    assert.deepEqual(asked, ['a', 'b', 'c', 'a']);
  });

  test('forgets what could not be answered', async () => {
    let calls = 0;
    const check = rememberKeys(async () => {
      if (++calls === 1) throw new Error('the store is busy');
      return true;
    });
    await assert.rejects(check('key'), /busy/);
    assert.equal(await check('key'), true);
  });
});
