/** A daemon that dies: `node start-and-die.ts ID DATA_DIR` with ServerOptions as JSON in OPTIONS starts a server, then ends as by `kill -9`. */
import { openServers } from '../../src/drivers/postgres/server.ts';
import { silentLog } from '../../src/lib/log.ts';
import { testCtx } from './postgres.ts';
import { testProcesses } from './processes.ts';

const [id = '', dataDir = ''] = process.argv.slice(2);
const options = JSON.parse(process.env.OPTIONS!);
const processes = await testProcesses(options.home);
const servers = await openServers({ ...options, processes, log: silentLog });
await servers.ensure(id, { dataDir, name: 'feature-x' }, testCtx());
process.kill(process.pid, 'SIGKILL');
