/** Networks of pods of an ordinary user; ordinary-user.test.ts runs this where tests are run by root. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import type { Networks } from '../../../src/drivers/network/contract.ts';
import { libc } from '../../../src/lib/libc.ts';
import { identify } from '../../../src/lib/process.ts';
import { until } from '../../../src/lib/wait.ts';
import { ask, noNetworks, openTestNetworks, serve } from '../../support/networks.ts';
import { tempDir } from '../../support/temp.ts';

const isRoot = process.getuid?.() === 0;
const missing = isRoot
  ? 'this is root, who needs no outpost: ordinary-user.test.ts runs it'
  : await noNetworks();

async function networksOf(home: string, shared: readonly number[] = []) {
  const networks = await openTestNetworks(home, shared);
  return { networks, outside: networks.outside!, [Symbol.asyncDispose]: () => networks.close() };
}

/** What we hear from a pod. */
const hear = async ({ outside }: Networks, host: string, port: number) =>
  await text(await outside!.connect({ host, port }, AbortSignal.timeout(60_000)));

/** The pid of the outpost of `home`. */
async function outpostOf(home: string): Promise<number> {
  const folder = join(home, 'outpost', 'processes');
  const [file] = (await readdir(folder)).filter(name => name.endsWith('.json'));
  const record = JSON.parse(await readFile(join(folder, file!), 'utf8')) as { leader: { pid: number } };
  return record.leader.pid;
}

describe('networks of an ordinary user', { skip: missing ?? false, concurrency: true }, () => {
  it('hold programs with one port side by side, also a low one; they go on when the outpost is killed', async () => {
    await using home = await tempDir();
    await using o = await networksOf(home.path);
    const { networks } = o;
    const [a, b] = [await networks.ensure('x/a/0'), await networks.ensure('x/b/0')];
    await using _a = await serve(a, '0.0.0.0', 80, 'a');
    await using _b = await serve(b, '0.0.0.0', 80, 'b');
    assert.equal(await ask(b, a.ip, 80), `a ${b.ip}`);
    assert.equal(await ask(a, b.ip, 80), `b ${a.ip}`);
    assert.equal(await hear(networks, a.ip, 80), `a ${networks.gateway()}`);
    await assert.rejects(hear(networks, a.ip, 81), { code: 'ECONNREFUSED' });

    // The kernel leads to a Service's pods what has one meaning only.
    networks.shorten([{ host: '127.77.3.4', port: 6379, pods: [{ host: b.ip, port: 80 }] }]);
    assert.equal(await ask(a, '127.77.3.4', 6379), `b ${networks.gateway()}`);

    const before = await outpostOf(home.path);
    process.kill(before, 'SIGKILL');
    assert.equal(await ask(b, a.ip, 80), `a ${b.ip}`);
    const again = () => hear(networks, a.ip, 80).catch(() => undefined);
    const options = { what: 'another outpost answers', deadlineMs: 60_000 };
    assert.equal(await until(again, options), `a ${networks.gateway()}`);
    assert.notEqual(await outpostOf(home.path), before);
    const c = await networks.ensure('x/c/0');
    assert.equal(await ask(c, a.ip, 80), `a ${c.ip}`);
  });

  it('send what is not for another pod to one place, which knows where it was to go', async () => {
    await using home = await tempDir();
    await using o = await networksOf(home.path, [5432]);
    const { networks, outside } = o;
    const { gateway, port } = outside.way;
    const calls = await libc();
    const fd = await outside.socket('stream', { host: gateway, port });
    const server = createServer(client => {
      const to = calls.originalDestination((client as Socket & { _handle: { fd: number } })._handle.fd);
      client.on('error', () => {});
      client.end(`${to.host}:${to.port} ${client.remoteAddress}`);
    });
    await once(server.listen({ fd }), 'listening');
    try {
      const pod = await networks.ensure('x/pod/0');
      const wanted = ['127.77.3.4:80', '198.51.100.7:443', `${gateway}:53`];
      for (const address of wanted) {
        const [host, number] = address.split(':') as [string, string];
        assert.equal(await ask(pod, host, Number(number)), `${address} ${pod.ip}`);
      }
      // A port of this machine that is shared, and one that is not.
      assert.equal(await ask(pod, '127.0.0.1', 5432), `${gateway}:5432 ${pod.ip}`);
      assert.equal(await ask(pod, '127.0.0.1', 5433), 'refused');
      assert.equal(await ask(pod, gateway, 5433), 'refused');
    } finally {
      server.close();
    }
  });

  it('leave nothing when they are closed', async () => {
    await using home = await tempDir();
    const { networks } = await networksOf(home.path);
    const pod = await networks.ensure('x/a/0');
    const outpost = await outpostOf(home.path);
    await serve(pod, '0.0.0.0', 80, 'a').then(serving => serving[Symbol.asyncDispose]());
    assert.notEqual(identify(outpost), undefined);
    await networks.close();
    assert.equal(identify(outpost), undefined);
    assert.deepEqual(await readdir(join(home.path, 'run', 'network')), []);
  });
});
