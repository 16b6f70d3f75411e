import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openBranchNode } from '../../../src/drivers/branch/node.ts';
import type { ServerDriver, VolumeDriver } from '../../../src/drivers/branch-parts.ts';
import { openServers } from '../../../src/drivers/postgres/server.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { branchNodeConformance } from '../../conformance/branch-node.ts';
import { memoryBranches } from '../../support/memory-branches.ts';
import { killServer, logsIn, openSession, testBranches, testCtx } from '../../support/postgres.ts';
import { verifierOpens } from '../../support/scram.ts';
import { Trouble } from '../../support/trouble.ts';

branchNodeConformance('on this machine', async () => {
  const b = await testBranches();
  const trouble = new Trouble();
  const volumes = troubledVolumes(b.volumes, trouble);
  const nodeOf = (servers: ServerDriver) =>
    openBranchNode({
      volumes,
      servers: troubledServers(servers, trouble),
      startsAtOnce: 2,
      log: silentLog,
    });
  const writeVersion = async (id: string, version: string) =>
    writeFile(join((await b.volumes.observe(id, testCtx()))!.dataDir, 'PG_VERSION'), `${version}\n`);
  return {
    node: nodeOf(b.servers),
    trouble,
    reopen: async () => nodeOf(await openServers(b.options)),
    async write(id, word) {
      await b.sql(id, 'CREATE TABLE IF NOT EXISTS words (word text)');
      await b.sql(id, `INSERT INTO words VALUES ('${word}')`);
    },
    read: async id => (await b.sql(id, 'SELECT word FROM words')).map(row => String(row.word)),
    async take(id, mib) {
      await b.sql(id, 'CREATE TABLE room (n int, filler text)');
      const fill = `INSERT INTO room SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 1024) n`;
      // As fast as it may grow; twice the size is written, once of it to the WAL.
      for (let written = 0; written < mib; written += 2)
        if (
          !(await b.sql(id, fill).then(
            () => true,
            () => false,
          ))
        )
          return;
    },
    opens: logsIn,
    join: openSession,
    kill: id => killServer(b.servers, id),
    spoil: id => writeVersion(id, '9.6'),
    mend: id => writeVersion(id, `${Number.parseInt(b.options.version, 10)}`),
    [Symbol.asyncDispose]: () => b[Symbol.asyncDispose](),
  };
});

branchNodeConformance('in memory', async () => {
  const trouble = new Trouble();
  const world = memoryBranches(trouble, { startsAtOnce: 2 });
  const { disk, running } = world;
  const clusterOf = (id: string) => disk.get(id)!.cluster!;
  return {
    node: world.branches,
    trouble,
    reopen: async () => world.reopen(),
    write: async (id, word) => void clusterOf(id).words.add(word),
    read: async id => [...clusterOf(id).words],
    async opens(endpoint, role, password) {
      const [id = ''] =
        [...running].find(([, s]) => 'socket' in endpoint && s.socket === endpoint.socket) ?? [];
      return verifierOpens(clusterOf(id).roles.get(role) ?? '', password);
    },
    async join(endpoint) {
      const server = [...running.values()].find(s => 'socket' in endpoint && s.socket === endpoint.socket)!;
      server.users = (server.users ?? 0) + 1;
      return async () => {
        server.users = (server.users ?? 0) - 1;
      };
    },
    take: async (id, mib) => void world.taken.set(id, mib * 2 ** 20),
    kill: async id => world.crash(id),
    async spoil(id) {
      clusterOf(id).broken = true;
    },
    async mend(id) {
      clusterOf(id).broken = false;
    },
    [Symbol.asyncDispose]: () => world.branches.close(),
  };
});

/** Meets `volumes.ensure` when all is made but its name. */
function troubledVolumes(volumes: VolumeDriver, trouble: Trouble): VolumeDriver {
  return {
    ...volumes,
    async settled(id, ctx) {
      await trouble.meet('volumes.settled', id, ctx);
      await volumes.settled(id, ctx);
    },
    ensure: (id, spec, ctx) =>
      volumes.ensure(
        id,
        {
          ...spec,
          async prepare(dataDir, c) {
            await trouble.meet('volumes.ensure', id, c);
            await spec.prepare(dataDir, c);
          },
        },
        ctx,
      ),
  };
}

/** Meets `servers.ensure` when there is something to start. */
function troubledServers(servers: ServerDriver, trouble: Trouble): ServerDriver {
  return {
    ...servers,
    async ensure(id, spec, ctx) {
      if ((await servers.observe(id, ctx)) === undefined) await trouble.meet('servers.ensure', id, ctx);
      return await servers.ensure(id, spec, ctx);
    },
  };
}
