import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exec } from '../../../src/lib/exec.ts';
import { scramVerifier } from '../../../src/lib/scram.ts';
import { serverDriverConformance } from '../../conformance/server-driver.ts';
import { memoryBranches } from '../../support/memory-branches.ts';
import { asSuperuser, killServer, logsIn, testCtx, testPlace, testServers } from '../../support/postgres.ts';
import { verifierOpens } from '../../support/scram.ts';
import { Trouble } from '../../support/trouble.ts';

serverDriverConformance('postgres', async () => {
  const stack = new AsyncDisposableStack();
  const place = stack.use(await testPlace());
  const { servers, options } = stack.use(await testServers(place));
  const pathOf = (id: string) => join(place.home, id);
  return {
    servers,
    async dataDir(id, from) {
      if (from === undefined) await mkdir(pathOf(id), { mode: 0o700 });
      else await cp(pathOf(from), pathOf(id), { recursive: true, preserveTimestamps: true });
      await exec('chown', ['-R', `${place.user.uid}:${place.user.gid}`, pathOf(id)]);
      return pathOf(id);
    },
    async opens(id, role, password) {
      const seen = await servers.observe(id, testCtx());
      return seen !== undefined && (await logsIn({ socket: seen.socket }, role, password));
    },
    addRole: (id, role, password) =>
      asSuperuser(options, id, async client => {
        await client.query(`CREATE ROLE "${role}" LOGIN PASSWORD '${password}'`);
      }),
    kill: id => killServer(servers, id),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
});

serverDriverConformance('in memory', async () => {
  const { servers, volumes, disk, ...world } = memoryBranches(new Trouble());
  const ctx = testCtx();
  const record = (id: string) => ({ id, project: 'test', branch: id, createdAt: '2030-01-01T00:00:00Z' });
  return {
    servers,
    async dataDir(id, from) {
      const source = from === undefined ? {} : { source: { id: from } };
      return (await volumes.ensure(id, { record: record(id), ...source, prepare: async () => {} }, ctx))
        .dataDir;
    },
    opens: async (id, role, password) =>
      world.running.has(id) && verifierOpens(disk.get(id)!.cluster!.roles.get(role) ?? '', password),
    async addRole(id, role, password) {
      disk.get(id)!.cluster!.roles.set(role, await scramVerifier(password));
    },
    kill: async id => world.crash(id),
    [Symbol.asyncDispose]: () => servers.close(),
  };
});
