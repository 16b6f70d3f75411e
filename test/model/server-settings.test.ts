import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OffshootError } from '../../src/model/errors.ts';
import { checkSettings, settingsAfter, settingsKey } from '../../src/model/server-settings.ts';

const problems = (settings: Readonly<Record<string, string>>): string => {
  try {
    checkSettings(settings);
    return '';
  } catch (error) {
    assert.ok(error instanceof OffshootError);
    assert.equal(error.code, 'settings/wrong');
    return error.message.replace('settings are wrong: ', '');
  }
};

test('settings that do no harm to others are taken, with values that PostgreSQL takes', () => {
  assert.equal(
    problems({
      ...{ max_connections: '200', wal_level: 'logical', work_mem: '256MB', TimeZone: 'Europe/Berlin' },
      ...{ shared_preload_libraries: 'auto_explain, pg_prewarm', autovacuum_work_mem: '-1', jit: 'off' },
      ...{ statement_timeout: '30s', random_page_cost: '1.1', enable_seqscan: 'off' },
    }),
    '',
  );
});

test('what is wrong is said all at once, and what reaches further than a branch is none', () => {
  for (const [name, value, problem] of [
    ['max_connections', '1e9', 'max_connections is a whole number from 5 to 2000'],
    ['wal_level', 'minimal', 'wal_level is one of replica, logical'],
    ['work_mem', '64', 'work_mem is a size from 64kB to 8GB'],
    ['work_mem', '9GB', 'work_mem is a size from 64kB to 8GB'],
    ['statement_timeout', '5', 'statement_timeout is a time such as 500ms, 30s, 5min or 2h, or 0'],
    ['timezone', 'UTC', 'timezone is written TimeZone'],
    ['TimeZone', "UTC'\nfsync = off", 'TimeZone is a word of letters, digits and _./+:,-'],
    [
      'shared_preload_libraries',
      '/tmp/x.so',
      /^shared_preload_libraries may hold auto_explain, .*, and not \/tmp\/x\.so$/,
    ],
    ...['fsync', 'archive_command', 'hba_file', 'listen_addresses', 'log_statement', 'constructor'].map(
      name => [name, 'x', `${name} cannot be set for a server`] as const,
    ),
  ] as const) {
    const said = problems({ [name]: value });
    if (typeof problem === 'string') assert.equal(said, problem);
    else assert.match(said, problem);
  }
  assert.equal(
    problems({ jit: '1', fsync: 'off' }),
    'jit is one of on, off; fsync cannot be set for a server',
  );
});

test('changes add, replace and give up', () => {
  assert.deepEqual(settingsAfter({ jit: 'on', work_mem: '8MB' }, { jit: null, geqo: ' off ' }), {
    geqo: 'off',
    work_mem: '8MB',
  });
  assert.equal(settingsAfter({ jit: 'on' }, { jit: null }), undefined);
  assert.equal(settingsKey({ b: '1', a: '2' }), settingsKey({ a: '2', b: '1' }));
  assert.equal(settingsKey(undefined), '');
});
