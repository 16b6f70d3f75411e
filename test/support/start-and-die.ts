/** A daemon that dies: `node start-and-die.ts ID DATA_DIR` with ServerOptions as JSON in OPTIONS starts a server, then ends as by `kill -9`. */
import { openServers } from '../../src/drivers/postgres/server.ts';
import { silentLog } from '../../src/lib/log.ts';
import { testCtx } from './postgres.ts';

const [id = '', dataDir = ''] = process.argv.slice(2);
const servers = await openServers({ ...JSON.parse(process.env.OPTIONS!), log: silentLog });
await servers.ensure(id, { dataDir, name: 'feature-x' }, testCtx());
process.kill(process.pid, 'SIGKILL');
