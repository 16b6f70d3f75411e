import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { apiKeyOf, withoutApiKeys } from '../../../src/proxy/http/preview-key.ts';

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
