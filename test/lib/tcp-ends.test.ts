import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { it } from 'node:test';
import { libc } from '../../src/lib/libc.ts';
import { families, openNetlink } from '../../src/lib/netlink.ts';
import { type TcpState, tcpEnds, tcpEndsByProc } from '../../src/lib/tcp-ends.ts';

type Listed = readonly { readonly host: string; readonly port: number }[];

const ways: Record<string, (state: TcpState) => Promise<Listed>> = {
  'by sock_diag': async state => {
    const diag = openNetlink(await libc(), families.diag);
    try {
      return tcpEnds(diag, state);
    } finally {
      diag.close();
    }
  },
  'from /proc': state => tcpEndsByProc(process.pid, state),
};

for (const [way, list] of Object.entries(ways))
  it(`lists who listens where, and who is connected, ${way}`, async t => {
    if (process.platform !== 'linux') return t.skip('Linux only');
    const hosts = {
      '127.0.0.1': '127.0.0.1',
      '::1': `${'0'.repeat(31)}1`,
      '::': '0'.repeat(32),
      '0.0.0.0': '0.0.0.0',
    };
    for (const [host, listed] of Object.entries(hosts)) {
      const server = createServer().listen(0, host);
      t.after(() => server.close());
      const [error] = await Promise.race([once(server, 'listening'), once(server, 'error')]);
      if (error !== undefined) continue; // no IPv6 here
      const { port } = server.address() as AddressInfo;
      const there = async (state: TcpState) => (await list(state)).filter(one => one.port === port);
      assert.deepEqual(await there('listening'), [{ host: listed, port }]);
      assert.deepEqual(await there('connected'), []);
      const client = connect(port, host === '::1' ? host : '127.0.0.1');
      t.after(() => client.destroy());
      await Promise.all([once(client, 'connect'), once(server, 'connection')]);
      assert.equal((await there('connected')).length, 1);
      assert.deepEqual(await there('listening'), [{ host: listed, port }]);
    }
    return undefined;
  });

it('finds nothing of a process that has ended', async () => {
  assert.deepEqual(await tcpEndsByProc(2 ** 30, 'listening'), []);
});
