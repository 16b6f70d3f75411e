import assert from 'node:assert/strict';
import { it } from 'node:test';
import { isSecretName, maskSecrets } from '../../../src/drivers/step/mask.ts';

it('knows secrets by their names', () => {
  for (const name of [
    'password',
    'DB_PASSWORD',
    'api-token',
    'connection-string',
    'API_KEY',
    'client-secret',
  ])
    assert.ok(isSecretName(name), name);
  for (const name of ['parent-branch', 'SIGNADOT_SANDBOX_ROUTING_KEY', 'PATH'])
    assert.ok(!isSecretName(name), name);
});

it('hides a secret that contains another one completely, and leaves words as short as any alone', () => {
  assert.equal(maskSecrets('abcdef abcd a', ['abcd', 'abcdef', 'a']), '*** *** a');
  assert.equal(maskSecrets('see postgresql://u:p$&w@h:1/d?x=y', []), 'see postgresql://u:***@h:1/d?x=y');
});
