/**
 * A branch node that is killed again and again, as a container is, while branches are made, written to and deleted: what was
 * acknowledged is there in the end, and what was deleted is not.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import { kubeconfigAccess } from '../../src/kubernetes/access.ts';
import { followBranchNodes } from '../../src/kubernetes/branch-nodes.ts';
import { clusterClient } from '../../src/kubernetes/client.ts';
import { silentLog } from '../../src/lib/log.ts';
import { mayMount } from '../../src/lib/mounts.ts';
import { randomSecret } from '../../src/lib/random.ts';
import { delay, until } from '../../src/lib/wait.ts';
import { createBook } from '../../src/proxy/book.ts';
import { askNode } from '../../src/proxy/branches/dial.ts';
import type { DoorSpace, DoorVolume } from '../../src/proxy/branches/messages.ts';
import { createGateway } from '../../src/proxy/postgres/gateway.ts';
import { connectAs } from '../../src/proxy/postgres/socket.ts';
import { followRoutes } from '../../src/reconcile/routes.ts';
import { createBranch, createProject, deleteBranch, findBranch } from '../../src/rules/branches.ts';
import { openKubernetesStore } from '../../src/store/kubernetes.ts';
import { branchNodeProcess } from '../support/branch-node-process.ts';
import { contextName, namespace, noCluster } from '../support/cluster.ts';
import { testAuthority } from '../support/identities.ts';
import { removeObjects } from '../support/installation.ts';
import { loopOn } from '../support/loop.ts';
import { memoryWorld } from '../support/memory-drivers.ts';
import { chance } from '../support/random.ts';
import { tempDir } from '../support/temp.ts';

const SEED = Number(process.env.TEST_SEED ?? 7);
const OPERATIONS = 50;
const KILLS = 6;
const NODE = 'node-0';

test('killed at random moments of creates and deletes, a branch node loses nothing', {
  skip: noCluster,
}, async t => {
  if (!(await mayMount())) return t.skip('it needs the right to make namespaces, which root has');
  await using stack = new AsyncDisposableStack();
  const ns = stack.use(await namespace());
  const home = stack.use(await tempDir());
  const authority = testAuthority();
  const { cert, key, ca } = authority.issue(`node/${NODE}`);
  const identity = join(home.path, 'identity.pem');
  await writeFile(identity, cert + key + ca, { mode: 0o600 });
  const context = contextName === undefined ? {} : { context: contextName };
  const client = clusterClient(
    await kubeconfigAccess(process.env.KUBECONFIG!, { ...context, env: process.env }),
  );
  stack.defer(() => client.close());
  const store = await openKubernetesStore({
    ...{ client, namespace: ns.name, log: silentLog },
    secretOf: { branch: () => ({ password: randomSecret(32) }) },
  });
  stack.defer(() => store.close());
  const nodes = await followBranchNodes({ client, namespace: ns.name, log: silentLog });
  stack.defer(() => nodes.close());
  const loop = loopOn(store, memoryWorld(), { branches: undefined, placement: nodes });
  stack.defer(() => loop.close());
  await loop.start();
  const book = createBook();
  const routes = followRoutes(store, storeBaseline(store), changes => book.apply(changes));
  stack.defer(() => routes.stop());
  const gateway = createGateway({
    ...{ book, log: silentLog, connect: connectAs(authority.source('gateway')) },
    awake: async (id, signal) => ({
      endpoint: await loop.awake(id, signal),
      sessions: store.get('branch', id)?.secret.sessions ?? 0,
    }),
  });
  const server = await gateway.open({ host: '127.0.0.1', port: 0 });
  stack.defer(async () => {
    await server.close(0);
    gateway.close();
  });

  const dice = chance(SEED);
  const options = { node: NODE, namespace: ns.name, home: join(home.path, 'node'), identity };
  let node = branchNodeProcess(options);
  stack.defer(() => node.kill());
  // While there is somebody to take down what they stand for.
  stack.defer(() => removeObjects(ns.name));
  t.diagnostic(`seed ${SEED}`);

  /** On a session of its own; what it does is acknowledged when it resolves. */
  const sql = async (id: string, text: string): Promise<readonly { readonly word: string }[]> => {
    const { password } = store.get('branch', id)!.secret;
    const session = new pg.Client({
      ...{ host: '127.0.0.1', port: server.port, user: `app.${id}`, password, database: 'app' },
      connectionTimeoutMillis: 60_000,
    });
    session.on('error', () => {});
    await session.connect();
    try {
      return (await session.query(text)).rows;
    } finally {
      await session.end().catch(() => {});
    }
  };
  const eventually = <T>(what: string, work: () => Promise<T>): Promise<T> =>
    until(async () => (await work().catch(() => undefined)) ?? undefined, {
      ...{ what, deadlineMs: 180_000, intervalMs: 100 },
    }).catch(error => {
      throw new Error(`${(error as Error).message}\n${node.said().slice(-3_000)}`);
    });

  await createProject(store, 'shop', { database: 'app', role: 'app' });
  const main = findBranch(store, 'shop', 'main')!;
  await eventually('main takes sessions', () => sql(main.name, 'create table t (word text)'));
  /** By id: rows that were acknowledged. */
  const words = new Map<string, Set<string>>([[main.name, new Set()]]);
  const deleted: string[] = [];

  const write = async (id: string, word: string): Promise<void> => {
    try {
      await sql(id, `insert into t values ('${word}')`);
      words.get(id)?.add(word);
    } catch {
      // It may be there or not: nobody was told.
      words.get(id)?.delete(word);
    }
  };
  const create = async (n: number): Promise<void> => {
    const parents = [...words.keys()].filter(id => store.get('branch', id)?.deletedAt === undefined);
    const parent = store.get('branch', dice.pick(parents))!;
    const name = `b${n}`;
    const begun = [...words.get(parent.name)!];
    const made = await createBranch(store, { project: 'shop', name, parent: parent.spec.name });
    words.set(made.name, new Set(begun));
  };
  const remove = async (): Promise<void> => {
    const leaves = [...words.keys()].filter(
      id => id !== main.name && store.by('branch/parent', id).length === 0,
    );
    if (leaves.length === 0) return;
    const id = dice.pick(leaves);
    words.delete(id);
    deleted.push(id);
    await deleteBranch(store, store.get('branch', id)!);
  };

  const killsAt = new Set(
    Array.from({ length: KILLS }, (_, i) => Math.floor(((i + 0.5) * OPERATIONS) / KILLS)),
  );
  const writing: Promise<void>[] = [];
  for (let n = 0; n < OPERATIONS; n++) {
    if (dice.often(60)) await create(n);
    else await remove();
    const [one] = [dice.pick([...words.keys()])];
    if (store.get('branch', one!)?.status?.state === 'ready') writing.push(write(one!, `w${n}`));
    // This wait is chance, not hope: where in its work the kill comes.
    await delay(dice.below(120));
    if (killsAt.has(n)) {
      await node.kill();
      node = branchNodeProcess(options);
    }
  }
  await Promise.all(writing);

  for (const [id, expected] of words) {
    const found = await eventually(`${id} takes sessions`, () => sql(id, 'select word from t'));
    const there = new Set(found.map(({ word }) => word));
    for (const word of expected) assert.ok(there.has(word), `${word} was acknowledged on ${id}`);
  }
  for (const id of deleted)
    await until(() => store.get('branch', id) === undefined || undefined, {
      ...{ what: `${id} is gone`, deadlineMs: 120_000 },
    });
  // The node has the volumes of those that are there, and no others.
  const [{ door } = assert.fail('no node')] = nodes.all();
  const ask = <T>(want: 'space' | 'unclaimed') =>
    askNode<T>(door, { want }, authority.source('controller'), AbortSignal.timeout(30_000));
  assert.deepEqual(await ask<readonly DoorVolume[]>('unclaimed'), []);
  const { sizes } = await ask<DoorSpace>('space');
  assert.deepEqual(sizes.map(([id]) => id).sort(), [...words.keys()].sort());
  await removeObjects(ns.name);
  await node.stop();
  t.diagnostic(`${words.size} branches are there, ${deleted.length} are gone, ${KILLS} kills`);
});
