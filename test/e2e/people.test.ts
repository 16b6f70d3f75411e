/** People in previews, with a real browser. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SandboxView } from '../../src/model/view.ts';
import { tryBrowser } from '../support/browser.ts';
import { testDaemon } from '../support/daemon.ts';
import { tempDir } from '../support/temp.ts';

test('people in previews', async t => {
  await using browser = await tryBrowser();
  if (browser === undefined) return t.skip('there is no chromium');
  await using daemon = await testDaemon();
  await using folder = await tempDir();
  await writeFile(join(folder.path, 'app.js'), app);
  await writeFile(
    join(folder.path, 'offshoot.yaml'),
    'images:\n  web: { dir: ., command: [node, app.js] }\n',
  );
  await writeFile(join(folder.path, 'k8s.yaml'), manifests);
  const run = async (args: readonly string[], input?: string) => {
    const result = await daemon.cli(args, { cwd: folder.path, ...(input !== undefined && { input }) });
    assert.equal(result.code, 0, `offshoot ${args.join(' ')}: ${result.stderr}`);
    return result.stdout.trim();
  };
  await run(['deploy', '-f', 'k8s.yaml']);
  const apply = async (name: string) => {
    const text = await run(['sandbox', 'apply', '-f', '-', '-o', 'json'], JSON.stringify(sandbox(name)));
    const { endpoints } = JSON.parse(text) as SandboxView;
    return Object.fromEntries(endpoints.map(({ name: endpoint, url }) => [endpoint, url]));
  };
  const [one, two] = [await apply('one'), await apply('two')];
  const key = await run(['key', 'create', 'anna']);
  const page = await browser.person();
  const asksForKey = `document.querySelector('input[name=key]') !== null`;
  const says = (text: string) => `document.body.innerText === ${JSON.stringify(text)}`;

  await t.test(
    'a typed key opens the preview at the page that was asked for, and is kept in no place that a page can see',
    async () => {
      await page.open(`${one.web}/deep?x=1`);
      await page.shows(asksForKey);
      await page.ask(`document.querySelector('input[name=key]').value = ${JSON.stringify(key)}`);
      await page.ask(`document.querySelector('button').click()`);
      await page.shows(says('one /deep?x=1'));
      assert.equal(await page.ask('location.href'), `${one.web}/deep?x=1`);
      assert.equal(await page.ask('document.cookie'), '');
      const [cookie, ...others] = await page.cookies();
      assert.deepEqual(others, []);
      assert.equal(cookie!.httpOnly, true);
      assert.equal(cookie!.sameSite, 'Lax');
      assert.equal(cookie!.domain, new URL(one.web!).hostname, 'of this host alone');
      assert.ok(!cookie!.value.includes(key));
      assert.equal(
        await page.ask(`fetch('/cookies').then(r => r.text())`),
        'one none',
        'the workload sees none',
      );
    },
  );

  await t.test('redirects of the workload stay in the preview', async () => {
    await page.open(`${one.web}/login`);
    await page.shows(says('one /in'));
    assert.equal(await page.ask('location.href'), `${one.web}/in`);
  });

  await t.test('it opens no other preview, neither for the person nor for a page', async () => {
    await page.open(two.web!);
    await page.shows(asksForKey);
    await page.open(one.web!);
    const asked = `fetch(${JSON.stringify(two.web)}, { credentials: 'include' }).then(r => r.text(), e => e.name)`;
    assert.equal(await page.ask(asked), 'TypeError');
  });

  await t.test(
    'pages ask another endpoint of their sandbox, preflight included, once both are open',
    async () => {
      const link = (await daemon.client.sandboxes.link('one', { endpoint: 'api', path: '/begin' })).url;
      await page.open(link);
      await page.shows(says('one /begin'));
      assert.equal(await page.ask('location.href'), `${one.api}/begin`, 'without the token of the link');
      await page.open(one.web!);
      const ask = (to: string) =>
        `fetch(${JSON.stringify(to)}, { method: 'PUT', credentials: 'include', headers: { 'x-of-the-app': '1' } })
        .then(r => r.text(), e => e.name)`;
      assert.equal(await page.ask(ask(`${one.api}/data`)), 'one /data');
      assert.equal(await page.ask(ask(`${two.api}/data`)), 'TypeError', 'of another sandbox');
    },
  );

  await t.test('a link works once', async () => {
    const link = (await daemon.client.sandboxes.link('two', {})).url;
    const [bert, carl] = [await browser.person(), await browser.person()];
    await bert.open(link);
    await bert.shows(says('two /'));
    await carl.open(link);
    await carl.shows(asksForKey);
  });

  await t.test('with its key the cookie ends', async () => {
    await run(['key', 'revoke', 'anna']);
    await page.open(one.web!);
    await page.shows(asksForKey);
  });
});

// --- internal -----------------------------------------------------------------------------------

const app = `require('node:http').createServer((request, response) => {
  const { url, method, headers } = request;
  response.setHeader('access-control-allow-origin', headers.origin ?? '*');
  response.setHeader('access-control-allow-methods', 'PUT');
  response.setHeader('access-control-allow-headers', 'x-of-the-app');
  response.setHeader('content-type', 'text/plain');
  if (url === '/login') return response.writeHead(302, { location: 'http://' + headers.host + '/in' }).end();
  response.end(process.env.NAME + ' ' + (url === '/cookies' ? headers.cookie ?? 'none' : url));
}).listen(process.env.PORT);
`;

const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: main, image: web, ports: [{ containerPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080 }]
`;

const sandbox = (name: string) => ({
  name,
  spec: {
    cluster: 'local',
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: 'shop', name: 'web' },
        customizations: { env: [{ name: 'NAME', value: name }] },
      },
    ],
    defaultRouteGroup: {
      endpoints: [
        { name: 'web', target: 'http://web.shop.svc:80' },
        { name: 'api', target: 'http://web.shop.svc:80' },
      ],
    },
  },
});
