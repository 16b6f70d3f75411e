/** `offshoot open`: a link reaches the browser without standing on a command line. */
import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../../src/lib/wait.ts';
import { testApi } from '../support/api.ts';
import { runCli } from '../support/cli.ts';
import { applied, deploy, deployment, service } from '../support/documents.ts';
import { tempDir } from '../support/temp.ts';

test('opens a preview by a file of this user alone, prints it on request, and says why it cannot', async () => {
  await using api = await testApi();
  await using dir = await tempDir();
  await deploy(api.store, deployment('users'), service('users', { port: 80 }));
  const target = 'http://users.demo.svc:80';
  const { name } = await applied(api.store, 'fix-42', {
    defaultRouteGroup: { endpoints: [{ name: 'web', target }] },
  });
  const url = 'http://web--fix-42.preview.localhost:7480';
  await api.store.modify('sandbox', name, () => ({
    status: {
      ...{ ready: true, reason: 'Ready', message: '', failed: false, observedGeneration: 1 },
      ...{ conditions: [], forks: [] },
      endpoints: [{ ...{ name: 'web', url, target, routeType: 'host', protocol: 'http' } }],
    },
  }));
  const env = {
    OFFSHOOT_API_URL: api.url,
    OFFSHOOT_API_KEY: api.apiKey,
    PATH: process.env.PATH,
    TMPDIR: dir.path,
  };
  const link = `${url}/.offshoot/open?token=link-of-web--fix-42&to=%2Fcart`;

  const printed = await runCli(['open', 'fix-42', '--path', '/cart', '--print'], { env });
  assert.deepEqual([printed.code, printed.stdout], [0, `${link}\n`]);

  const browser = join(dir.path, 'browser');
  const given = join(dir.path, 'given');
  await writeFile(browser, `#!/bin/sh\nprintf %s "$1" > ${given}\n`);
  await chmod(browser, 0o755);
  const opened = await runCli(['open', 'fix-42', '--path', '/cart'], { env: { ...env, BROWSER: browser } });
  assert.deepEqual([opened.code, opened.stderr], [0, `opened ${url}\n`]);
  const argument = await until(() => readFile(given, 'utf8').catch(() => ''), {
    what: 'the browser is started',
    deadlineMs: 60_000,
  });
  assert.match(argument, /^file:\/\/\/.*\/open\.html$/);
  const file = fileURLToPath(argument);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.ok((await readFile(file, 'utf8')).includes(`url=${link.replace('&', '&#38;')}`));

  await writeFile(browser, '#!/bin/sh\nexit 7\n');
  const failed = await runCli(['open', 'fix-42', '--path', '/cart'], { env: { ...env, BROWSER: browser } });
  assert.equal(failed.code, 0);
  assert.match(failed.stderr, /no browser could be opened: .*it ended with code 7; open this yourself/);
  assert.equal(failed.stdout, `${link}\n`);
  const none = await runCli(['open', 'fix-42'], { env });
  assert.match(none.stderr, /there is no screen here/);
  const wrong = await runCli(['open', 'fix-42', '--path', '//evil'], { env });
  assert.equal(wrong.code, 2);
});
