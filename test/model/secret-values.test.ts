import assert from 'node:assert/strict';
import { it } from 'node:test';
import { isSecretName, secretsIn } from '../../src/model/secret-values.ts';

it('knows secrets by their names', () => {
  for (const name of [
    ...[
      'password',
      'DB_PASSWORD',
      'api-token',
      'connection-string',
      'API_KEY',
      'client-secret',
      'private-key',
    ],
  ])
    assert.ok(isSecretName(name), name);
  for (const name of ['parent-branch', 'branch-name', 'SIGNADOT_SANDBOX_ROUTING_KEY', 'PATH', 'url', 'host'])
    assert.ok(!isSecretName(name), name);
});

const values: readonly (readonly [name: string, value: string, secrets: readonly string[]])[] = [
  ['token', 'abc\n', ['abc']],
  ['tenant', 'tenant-7', []],
  ['password', '', []],
  ['url', 'postgresql://app:p%40ss@h:1/d', ['p%40ss', 'p@ss']],
  ['connection-string', "host=h user=u password='it\\'s'", ["it's"]],
  ['ado', 'Server=h;Pwd=hush;Port=1', ['hush']],
  ['creds', '{"user":"u","password":"hush","more":{"token":"hush2"}}', ['hush', 'hush2']],
  ['api-token', '{not json', ['{not json']],
];
for (const [name, value, secrets] of values) {
  it(`${name}=${JSON.stringify(value)} holds ${JSON.stringify(secrets)}`, () => {
    assert.deepEqual(secretsIn(name, value), secrets);
  });
}
