import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { confirm } from '../../src/cli/confirm.ts';
import { fakeCli } from '../support/cli.ts';

const ask = (options: Parameters<typeof fakeCli>[0], yes = false) =>
  confirm(fakeCli(options).cli, 'it', 'It is gone then.', yes);
const terminal = { terminal: true, columns: 80 };

test('a yes is typed at the terminal, or said beforehand', async () => {
  for (const input of ['y\n', 'Yes\n', ' y \n']) await ask({ ...terminal, input });
  await ask({}, true);
});

test('anything else, also the end of the input, is a no', async () => {
  for (const input of ['', '\n', 'n\n', 'yyy\n', 'no\ny\n'])
    await assert.rejects(ask({ ...terminal, input }), {
      code: 'delete/declined',
      message: 'it was not deleted',
    });
});

test('a pipe is not asked', async () => {
  const unconfirmed = { code: 'delete/unconfirmed', hint: 'repeat with --yes' };
  for (const options of [{ input: 'y\n' }, { input: 'y\n', terminal: true }, { input: 'y\n', columns: 80 }])
    await assert.rejects(ask(options), unconfirmed);
});

test('Ctrl-C ends the question', async () => {
  const abort = new AbortController();
  const { cli } = fakeCli({ ...terminal, input: '', signal: abort.signal });
  const never = Object.assign(new PassThrough(), { isTTY: true });
  const asked = confirm({ ...cli, stdin: never }, 'it', 'It is gone then.', false);
  abort.abort(new Error('SIGINT'));
  await assert.rejects(asked, { message: 'SIGINT' });
});
