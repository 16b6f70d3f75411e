/**
 * What tells sidecars and gateways, as a process that can be killed: `node controller-process.ts HOME PORT`. It publishes
 * each line of its input, a JSON list of items, and says `told` when all who follow know it; at first `up`.
 */
import { join } from 'node:path';
import { keepAuthority } from '../../src/authority.ts';
import { readJsonLines } from '../../src/lib/json-lines.ts';
import { silentLog } from '../../src/lib/log.ts';
import { OffshootError } from '../../src/model/errors.ts';
import type { RouteChange } from '../../src/model/route.ts';
import { fileCertificate, openDoor } from '../../src/proxy/stream/door.ts';
import { openFeed } from '../../src/proxy/stream/feed.ts';

const [home = '', port = ''] = process.argv.slice(2);
const authority = keepAuthority(home, 'test', ['localhost', '127.0.0.1'], Date.now());
const feed = await openFeed({
  ...{ socket: join(home, 'feed', 'feed.sock'), version: '1.2.3', log: silentLog },
  awake: branch => Promise.reject(new OffshootError('gateway/branch-unknown', { branch })),
  onListeners() {},
  onFound() {},
  onProxies() {},
  isAlive: () => false,
  async dropTable() {},
});
let settled = false;
readJsonLines(process.stdin, {
  maxLength: 1_000_000,
  async onValue(items) {
    feed.publish(items as RouteChange[]);
    if (!settled) {
      feed.settle();
      await openDoor({
        ...{ host: '127.0.0.1', port: Number(port), admit: feed.admit },
        certificate: fileCertificate(authority.server),
        ...{ authority: authority.certificate, log: silentLog },
      });
      settled = true;
      process.stdout.write('up\n');
    } else if (await feed.delivered()) process.stdout.write('told\n');
  },
  onBroken: why => process.stderr.write(why),
});
