/** What every node must do that holds branches, on real volumes and servers or in memory. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { BranchNode, BranchSeen, BranchWish, Ctx } from '../../src/drivers/contract.ts';
import { silentLog } from '../../src/lib/log.ts';
import { scramVerifier } from '../../src/lib/scram.ts';
import { until } from '../../src/lib/wait.ts';
import type { BranchEndpoint } from '../../src/model/branch.ts';
import type { Trouble } from '../support/trouble.ts';

export type NodeFixture = AsyncDisposable & {
  /** With two places for starts. */
  readonly node: BranchNode;
  /** Meets `volumes.ensure` before a volume is made visible and `servers.ensure` before a server is started. */
  readonly trouble: Trouble;
  /** Another node on the same world, as the next process opens it. */
  reopen(): Promise<BranchNode>;
  /** Words that a superuser writes into a branch that runs, and reads from it. */
  write(id: string, word: string): Promise<void>;
  read(id: string): Promise<readonly string[]>;
  opens(endpoint: BranchEndpoint, role: string, password: string): Promise<boolean>;
  /** A session. @returns the way to end it */
  join(endpoint: BranchEndpoint, role: string, password: string): Promise<() => Promise<void>>;
  /** Lets a branch that runs take so much room; it may be stopped for that. */
  take(id: string, mib: number): Promise<void>;
  /** Ends the server as a crash does; returns when it is dead. */
  kill(id: string): Promise<void>;
  /** What keeps a server from running on the files of a branch, and what mends it. */
  spoil(id: string): Promise<void>;
  mend(id: string): Promise<void>;
};

const phases = ({ volume, server, access }: BranchSeen): string =>
  [volume, server, access].map(phase => phase.reason).join(' ');

export function branchNodeConformance(name: string, open: () => Promise<NodeFixture>): void {
  describe(`branch node ${name}`, () => {
    let f: NodeFixture;
    let node: BranchNode;
    before(async () => {
      f = await open();
      node = f.node;
      const { parent: _, ...empty } = await wishOf('seed');
      assert.ok((await settle('seed', empty)).endpoint);
      await node.stop('seed', ctx());
    });
    after(() => f?.[Symbol.asyncDispose]());

    const ctx = (): Ctx => ({ signal: AbortSignal.timeout(60_000), log: silentLog });
    const passwordOf = (id: string) => `secret-of-${id}`;
    /** Without more, a copy of a branch that sleeps: quicker than a new cluster. */
    const wishOf = async (id: string, more: Partial<BranchWish> = {}): Promise<BranchWish> => ({
      project: 'shop',
      branch: id,
      parent: 'seed',
      createdAt: '2030-01-01T00:00:00.000Z',
      role: 'app',
      database: 'app',
      verifier: await scramVerifier(passwordOf(id)),
      ...more,
    });
    /** Asks until the branch is ready, waits or has failed, as a reconciler does. */
    const settle = async (id: string, wish: BranchWish): Promise<BranchSeen> => {
      for (let asked = 0; ; asked++) {
        const seen = await node.ensure(id, wish, ctx());
        if (seen.endpoint || seen.waits || seen.failure) return seen;
        assert.ok(asked < 5, `it does not come to an end: ${phases(seen)}`);
      }
    };
    const ready = async (id: string, more: Partial<BranchWish> = {}) => {
      const wish = await wishOf(id, more);
      const seen = await settle(id, wish);
      assert.ok(seen.endpoint, `${phases(seen)}: ${JSON.stringify(seen.failure)}`);
      return { wish, endpoint: seen.endpoint };
    };

    it('knows nothing of a branch that never was, and ends it without complaint', async () => {
      assert.equal(await node.observe('none', ctx()), undefined);
      await node.stop('none', ctx());
      await node.remove('none', ctx());
      assert.deepEqual(await node.list(ctx()), ['seed']);
    });

    it('makes volume, server and access one after the other, and says after each how far it is', async () => {
      const wish = await wishOf('b-root', { owner: 'sandbox/pr' });
      const steps: string[] = [];
      let seen: BranchSeen;
      do {
        seen = await node.ensure('b-root', wish, ctx());
        steps.push(phases(seen));
        // Its room is counted meanwhile.
        const { exits, room: _, ...rest } = (await node.observe('b-root', ctx()))!;
        const { room: __, ...said } = seen;
        assert.deepEqual({ ...rest, exits: seen.exits }, said);
        assert.equal(exits.count, 0);
      } while (seen.endpoint === undefined);
      assert.deepEqual(steps, [
        'VolumeReady ServerStopped Waiting',
        'VolumeReady ServerRunning PasswordMissing',
        'VolumeReady ServerRunning PasswordSet',
      ]);
      const { verifier: _, ...record } = wish;
      assert.deepEqual(seen.record, { id: 'b-root', ...record });
      assert.ok(seen.exits.upMs! >= 0);
      assert.ok((await node.list(ctx())).includes('b-root'));
      assert.equal(await f.opens(seen.endpoint, 'app', passwordOf('b-root')), true);
      assert.equal(await f.opens(seen.endpoint, 'app', 'a guess'), false);
    });

    it('changes nothing when asked again, and what is asked when asked for something else', async () => {
      const { wish, endpoint } = await ready('c-root');
      assert.deepEqual((await node.ensure('c-root', wish, ctx())).endpoint, endpoint);
      const verifier = await scramVerifier('rotated');
      const seen = await settle('c-root', { ...wish, branch: 'renamed', verifier });
      assert.deepEqual(seen.endpoint, endpoint);
      assert.equal(seen.record?.branch, 'renamed');
      assert.equal(await f.opens(endpoint, 'app', passwordOf('c-root')), false);
      assert.equal(await f.opens(endpoint, 'app', 'rotated'), true);
    });

    it('grows a branch from a running parent, independent in both directions and with a password of its own', async () => {
      const parent = await ready('d-root');
      await f.write('d-root', 'before');
      const child = await ready('d-twig', { parent: 'd-root' });
      await f.write('d-root', 'of the parent');
      await f.write('d-twig', 'of the child');
      assert.deepEqual(await f.read('d-root'), ['before', 'of the parent']);
      assert.deepEqual(await f.read('d-twig'), ['before', 'of the child']);
      assert.equal(await f.opens(child.endpoint, 'app', passwordOf('d-root')), false);
      assert.equal(await f.opens(child.endpoint, 'app', passwordOf('d-twig')), true);
      assert.equal(await f.opens(parent.endpoint, 'app', passwordOf('d-root')), true);
      assert.equal((await node.observe('d-twig', ctx()))?.record?.parent, 'd-root');
    });

    it('stops a server and keeps the data; grows a branch from a sleeping parent without waking it', async () => {
      const { wish } = await ready('e-root');
      await f.write('e-root', 'kept');
      await node.stop('e-root', ctx());
      assert.equal(phases((await node.observe('e-root', ctx()))!), 'VolumeReady ServerStopped Waiting');
      await ready('e-twig', { parent: 'e-root' });
      assert.deepEqual(await f.read('e-twig'), ['kept']);
      assert.equal((await node.observe('e-root', ctx()))?.server.status, 'False');
      await settle('e-root', wish);
      assert.deepEqual(await f.read('e-root'), ['kept']);
    });

    it('lets a branch sleep that nobody needs, and not one that somebody does', async () => {
      const { wish, endpoint } = await ready('s-root');
      const copying = f.trouble.hang('volumes.ensure s-twig');
      const twig = ready('s-twig', { parent: 's-root' });
      await copying.reached;
      const copied = await node.sleep('s-root', wish, true, ctx());
      assert.deepEqual(
        [copied.busy, phases(copied.seen)],
        ['it is being copied', phases(await settle('s-root', wish))],
      );
      copying.release();
      await twig;
      const leave = await f.join(endpoint, 'app', passwordOf('s-root'));
      const used = await node.sleep('s-root', wish, false, ctx());
      assert.equal(used.busy, 'a session is open');
      await leave();
      const left = async () =>
        (await node.sleep('s-root', wish, false, ctx())).busy === undefined || undefined;
      await until(left, { what: 'the session has ended', deadlineMs: 60_000 });
      const { seen } = await node.sleep('s-root', { ...wish, branch: 'renamed' }, false, ctx());
      assert.equal(phases(seen), 'VolumeReady Asleep Waiting');
      assert.equal(seen.record?.branch, 'renamed');
      assert.equal((await node.sleep('nobody', wish, false, ctx())).seen.record, undefined);
      // Another password while it sleeps.
      const woken = await settle('s-root', { ...wish, verifier: await scramVerifier('another') });
      assert.equal(await f.opens(woken.endpoint!, 'app', 'another'), true);
      assert.equal(await f.opens(woken.endpoint!, 'app', passwordOf('s-root')), false);
      const again = await f.join(woken.endpoint!, 'app', 'another');
      assert.equal((await node.sleep('s-root', wish, true, ctx())).busy, undefined);
      await again();
    });

    it('says that it needs the server of its parent, when that is not there, or dead', async () => {
      const asked = () =>
        wishOf('f-twig', { parent: 'f-root' }).then(wish => node.ensure('f-twig', wish, ctx()));
      const orphan = await asked();
      assert.deepEqual(
        [orphan.waits, phases(orphan)],
        ['branch/f-root', 'BranchParentNotReady Waiting Waiting'],
      );
      const { wish } = await ready('f-root');
      await f.kill('f-root');
      const waiting = await asked();
      assert.equal(waiting.waits, 'branch/f-root');
      assert.equal(await node.observe('f-twig', ctx()), undefined, 'nothing was made of it');
      await settle('f-root', wish);
      await ready('f-twig', { parent: 'f-root' });
    });

    it('makes only so many copies of a parent at a time: others go away and are told', async () => {
      const { wish } = await ready('g-root');
      const told: string[] = [];
      node.onFree(({ topic }) => told.push(topic));
      const copies: { readonly seen: Promise<BranchSeen>; release(): void }[] = [];
      let more: BranchSeen | undefined;
      for (let i = 0; more === undefined; i++) {
        assert.ok(i < 50, 'it ends somewhere');
        const copying = f.trouble.hang(`volumes.ensure g-${i}`);
        const seen = node.ensure(`g-${i}`, await wishOf(`g-${i}`, { parent: 'g-root' }), ctx());
        more = await Promise.race([seen, copying.reached.then(() => undefined)]);
        if (more === undefined) copies.push({ seen, release: copying.release });
        else copying.release();
      }
      assert.deepEqual([more.waits, more.volume.reason], ['copy/g-root', 'WaitsForCopy']);
      assert.ok((await node.ensure('g-root', wish, ctx())).endpoint, 'the parent goes on');
      assert.deepEqual(told, []);
      const [first, ...others] = copies;
      first!.release();
      assert.equal((await first!.seen).volume.status, 'True');
      assert.deepEqual(told, ['copy/g-root']);
      await ready(`g-${copies.length}`, { parent: 'g-root' });
      for (const { release } of others) release();
      for (const { seen } of others) assert.equal((await seen).volume.status, 'True');
    });

    it('copies many that wait for their parent from one base, which is no branch and goes with it', async t => {
      if (!node.copyOnWrite) return t.skip('volumes are full copies here, and a base would be one more');
      const { wish } = await ready('s-root');
      await f.write('s-root', 'before');
      await f.kill('s-root');
      const twigs = ['s-1', 's-2', 's-3', 's-4', 's-5'];
      const wishes = await Promise.all(twigs.map(id => wishOf(id, { parent: 's-root' })));
      for (const [i, id] of twigs.entries())
        assert.equal((await node.ensure(id, wishes[i]!, ctx())).waits, 'branch/s-root');
      const grown = (id: string, asked: BranchWish) =>
        until(async () => (await settle(id, asked)).endpoint, {
          what: `${id} is ready`,
          deadlineMs: 60_000,
          intervalMs: 10,
        });
      const told = new Set<string>();
      node.onFree(({ topic }) => told.add(topic));
      const starting = f.trouble.hang('servers.ensure s-root');
      const root = settle('s-root', wish);
      await starting.reached;
      const what = 'they are told that they can be copied';
      await until(() => told.has('branch/s-root') || undefined, { what, deadlineMs: 60_000, intervalMs: 5 });
      assert.ok(await grown('s-1', wishes[0]!), 'it is there before its parent is');
      starting.release();
      assert.ok((await root).endpoint);
      await f.write('s-root', 'after');
      for (const [i, id] of twigs.entries()) {
        const endpoint = await grown(id, wishes[i]!);
        assert.deepEqual(await f.read(id), ['before'], 'as it was when they were asked for');
        assert.equal(await f.opens(endpoint, 'app', passwordOf(id)), true);
        assert.equal(await f.opens(endpoint, 'app', passwordOf('s-root')), false);
      }
      const next = await f.reopen();
      const others = (await next.list(ctx())).filter(id => id.startsWith('base-'));
      assert.equal(others.length, 1);
      assert.equal(
        (await next.observe(others[0]!, ctx()))?.record?.stock,
        'base',
        'a leftover for the next process',
      );
      assert.deepEqual(
        (await node.list(ctx())).filter(id => id.startsWith('base-')),
        [],
      );
      // Whoever is asked for later sees what was written before, however often that changes.
      const words = ['before', 'after'];
      for (const id of ['s-late', 's-later']) {
        await grown(id, await wishOf(id, { parent: 's-root' }));
        assert.deepEqual(await f.read(id), words);
        words.push(`after ${id}`);
        await f.write('s-root', `after ${id}`);
      }
      for (const id of [...twigs, 's-late', 's-later', 's-root']) await node.remove(id, ctx());
      assert.deepEqual(
        (await next.list(ctx())).filter(id => id.startsWith('base-')),
        [],
      );
    });

    it('does not start a server while its files are copied', async () => {
      const { wish } = await ready('h-root');
      await node.stop('h-root', ctx());
      const copying = f.trouble.hang('volumes.ensure h-twig');
      const twig = node.ensure('h-twig', await wishOf('h-twig', { parent: 'h-root' }), ctx());
      await copying.reached;
      const seen = await node.ensure('h-root', wish, ctx());
      assert.deepEqual([seen.waits, seen.server.reason], ['copy/h-root', 'WaitsForCopy']);
      copying.release();
      await twig;
      assert.ok((await settle('h-root', wish)).endpoint);
    });

    it('starts only so many servers at once', async () => {
      const ids = ['i-a', 'i-b', 'i-c'];
      const wishes = await Promise.all(ids.map(id => wishOf(id)));
      for (const [i, id] of ids.entries()) await node.ensure(id, wishes[i]!, ctx());
      const told: string[] = [];
      node.onFree(({ topic }) => told.push(topic));
      const starts = ['i-a', 'i-b'].map(id => f.trouble.hang(`servers.ensure ${id}`));
      const first = node.ensure('i-a', wishes[0]!, ctx());
      const second = node.ensure('i-b', wishes[1]!, ctx());
      await Promise.all(starts.map(s => s.reached));
      const third = await node.ensure('i-c', wishes[2]!, ctx());
      assert.deepEqual([third.waits, third.server.reason], ['start', 'WaitsForStart']);
      for (const start of starts) start.release();
      await Promise.all([first, second]);
      assert.deepEqual(told, ['start', 'start']);
      assert.ok((await settle('i-c', wishes[2]!)).endpoint);
    });

    it('tells of a server that ended by itself, says how often, and starts it on the same data', async () => {
      const { wish } = await ready('j-root');
      await f.write('j-root', 'kept');
      const told: string[] = [];
      node.onChange(id => told.push(id));
      await f.kill('j-root');
      await until(() => told[0], { what: 'it is told', deadlineMs: 60_000 });
      const dead = (await node.observe('j-root', ctx()))!;
      assert.equal(phases(dead), 'VolumeReady ServerEnded Waiting');
      assert.equal(dead.endpoint, undefined);
      assert.equal(dead.exits.count, 1);
      assert.ok(dead.exits.livedMs! >= 0);
      const again = await settle('j-root', wish);
      assert.equal(again.exits.count, 1);
      assert.deepEqual(await f.read('j-root'), ['kept']);
      await node.stop('j-root', ctx());
      assert.equal((await node.observe('j-root', ctx()))?.exits.count, 0, 'that was on purpose');
    });

    it('answers why a step failed, takes nothing from what is broken, and goes on when it is mended', async () => {
      const { wish } = await ready('k-root');
      await node.stop('k-root', ctx());
      await f.spoil('k-root');
      const seen = await node.ensure('k-root', wish, ctx());
      assert.equal(seen.failure?.code, 'postgres/start-failed');
      assert.equal(phases(seen), 'VolumeReady PostgresStartFailed Waiting');
      assert.match(seen.server.message, /^the PostgreSQL server of branch "k-root" did not start: /);
      const child = await node.ensure('k-twig', await wishOf('k-twig', { parent: 'k-root' }), ctx());
      assert.equal(child.waits, 'branch/k-root');
      await f.mend('k-root');
      assert.ok((await settle('k-root', wish)).endpoint);
    });

    it('makes a branch anew from another one, as often as that is asked for, and never without a copy', async () => {
      await ready('n-root');
      await f.write('n-root', 'first');
      const { wish, endpoint } = await ready('n-twig', { parent: 'n-root' });
      await f.write('n-twig', 'lost');
      const leaf = await ready('n-leaf', { parent: 'n-twig' });
      await f.write('n-root', 'second');
      const first = { ...wish, reset: { count: 1, from: 'n-root' } };

      // The old one runs until the new one is complete, and as long as somebody copies from it.
      f.trouble.fail('volumes.ensure n-twig', new Error('no luck'));
      const failed = await node.ensure('n-twig', first, ctx());
      assert.deepEqual([failed.failure?.code, failed.record?.resets], ['internal', undefined]);
      assert.deepEqual((await node.observe('n-twig', ctx()))?.endpoint, endpoint);
      f.trouble.mend('volumes.ensure n-twig');
      const copying = f.trouble.hang('volumes.ensure n-other');
      const other = node.ensure('n-other', await wishOf('n-other', { parent: 'n-twig' }), ctx());
      await copying.reached;
      assert.equal((await node.ensure('n-twig', first, ctx())).waits, 'copy/n-twig');
      copying.release();
      assert.equal((await other).volume.status, 'True');

      // Nobody begins to copy from it meanwhile.
      const replacing = f.trouble.hang('volumes.ensure n-twig');
      const anew = node.ensure('n-twig', first, ctx());
      await replacing.reached;
      const late = await wishOf('n-late', { parent: 'n-twig' });
      assert.equal((await node.ensure('n-late', late, ctx())).waits, 'copy/n-twig');
      const told = new Promise<string>(resolve => void node.onFree(({ topic }) => resolve(topic)));
      replacing.release();
      assert.equal((await anew).record?.resets, 1);
      assert.match(await told, /^copy\/n-/);

      const seen = await settle('n-twig', first);
      assert.deepEqual(await f.read('n-twig'), ['first', 'second']);
      assert.equal(seen.record?.parent, 'n-root');
      assert.equal(await f.opens(seen.endpoint!, 'app', passwordOf('n-twig')), true);
      assert.equal(await f.opens(seen.endpoint!, 'app', passwordOf('n-root')), false);
      assert.deepEqual(await f.read('n-leaf'), ['first', 'lost'], 'a child keeps what it has');
      assert.deepEqual((await node.ensure('n-leaf', leaf.wish, ctx())).endpoint, leaf.endpoint);

      await f.write('n-twig', 'of its own');
      assert.deepEqual((await settle('n-twig', first)).endpoint, seen.endpoint, 'once is enough');
      assert.deepEqual(await f.read('n-twig'), ['first', 'second', 'of its own']);
      await settle('n-twig', { ...wish, reset: { count: 2, from: 'seed' } });
      assert.equal((await node.observe('n-twig', ctx()))?.record?.resets, 2);
    });

    it('makes no other volume where there was one', async () => {
      const seen = await settle('had-one', await wishOf('had-one', { made: true }));
      assert.equal(seen.failure?.code, 'branch/volume-lost');
      assert.equal(await node.observe('had-one', ctx()), undefined);
    });

    it('stops when it is aborted, and goes on where it was', async () => {
      const wish = await wishOf('l-root');
      for (const call of ['volumes.ensure', 'servers.ensure']) {
        const hanging = f.trouble.hang(call);
        const stop = new AbortController();
        const working = node.ensure('l-root', wish, { ...ctx(), signal: stop.signal });
        await hanging.reached;
        stop.abort(new Error('enough'));
        await assert.rejects(working, /enough/);
        f.trouble.mend(call);
        await node.ensure('l-root', wish, ctx());
      }
      assert.ok((await settle('l-root', wish)).endpoint);
    });

    it('lets nobody in before a power cut would leave the branch as it is', async () => {
      const wish = await wishOf('u-twig');
      const settling = f.trouble.hang('volumes.settled');
      const working = settle('u-twig', wish);
      await settling.reached;
      const seen = await node.observe('u-twig', ctx());
      assert.equal(phases(seen!), 'VolumeReady ServerRunning PasswordMissing', 'its server starts meanwhile');
      settling.release();
      assert.ok((await working).endpoint);
    });

    it('is taken up by the next process as it is', async () => {
      const { wish, endpoint } = await ready('m-root');
      const next = await f.reopen();
      assert.deepEqual((await next.observe('m-root', ctx()))?.endpoint, endpoint);
      assert.deepEqual((await next.ensure('m-root', wish, ctx())).endpoint, endpoint);
      const told = new Promise<string>(resolve => void next.onChange(resolve));
      await f.kill('m-root');
      assert.equal(await told, 'm-root');
    });

    it('removes all of a branch, and nothing of another', async () => {
      await ready('n-root');
      await ready('n-twig', { parent: 'n-root' });
      await node.remove('n-twig', ctx());
      await node.remove('n-twig', ctx());
      assert.equal(await node.observe('n-twig', ctx()), undefined);
      const left = await node.list(ctx());
      assert.deepEqual([left.includes('n-root'), left.includes('n-twig')], [true, false]);
    });

    it('stops a branch that reaches its limit, and lets it run again when that is raised', async () => {
      const MIB = 2 ** 20;
      const { wish } = await ready('b-greedy', { limitBytes: 64 * MIB });
      await ready('b-modest', { limitBytes: 64 * MIB });
      const told: string[] = [];
      const stop = node.onRoom(id => told.push(id));
      await f.write('b-greedy', 'kept');
      await f.take('b-greedy', 80);
      const seen = await until(
        async () => {
          const found = await node.observe('b-greedy', ctx());
          return found?.server.status === 'False' ? found : undefined;
        },
        { what: 'it is stopped', deadlineMs: 60_000 },
      );
      stop();
      assert.equal(seen.endpoint, undefined);
      assert.ok(told.includes('b-greedy') && !told.includes('b-modest'));
      const refused = await node.ensure('b-greedy', wish, ctx());
      assert.equal(refused.failure?.code, 'branch/over-limit');
      assert.equal(refused.waits, 'room/b-greedy');
      assert.match(refused.server.message, /was stopped: it takes \d+ MiB, and its limit is 64 MiB/);
      assert.ok(
        refused.room!.bytes >= 64 * MIB && refused.room!.near && refused.room!.limitBytes === 64 * MIB,
      );
      assert.ok((await node.usages()).get('b-greedy')!.bytes >= 32 * MIB, 'it may be a little older');
      const room = await node.room();
      assert.ok(room.totalBytes > room.freeBytes && room.freeBytes > room.reserveBytes);
      assert.equal((await node.observe('b-modest', ctx()))?.server.status, 'True');

      const raised = await settle('b-greedy', { ...wish, limitBytes: 1024 * MIB });
      assert.ok(raised.endpoint, phases(raised));
      assert.equal(raised.room?.near, false);
      assert.deepEqual(await f.read('b-greedy'), ['kept']);
    });
  });
}
