import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { storeBaseline } from '../../src/baseline/store-baseline.ts';
import type { RouteChange } from '../../src/model/route.ts';
import { followRoutes } from '../../src/reconcile/routes.ts';
import { LINK_MS, visits } from '../../src/rules/visits.ts';
import { applied, deploy, deployment, service } from '../support/documents.ts';
import { it, testStore } from '../support/stores.ts';

const hash = (digit: string) => digit.repeat(64);
const sha = async (text: string) =>
  Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex');

/** A sandbox `fix-42` with the preview `web--fix-42`; keys `a…` and `b…` are accepted. */
async function withSandbox() {
  const store = testStore();
  await deploy(store, deployment('users'), service('users', { port: 80 }));
  await applied(store, 'fix-42', {
    defaultRouteGroup: { endpoints: [{ name: 'web', target: 'http://users.demo.svc:80' }] },
  });
  const keys = new Set([hash('a'), hash('b')]);
  const clock = { now: 1_000_000 };
  const visiting = visits(
    store,
    key => keys.has(key),
    () => clock.now,
  );
  const noted = () => store.get('sandbox', 'fix-42')!.secret.visits ?? {};
  return { store, keys, clock, visiting, noted, [Symbol.asyncDispose]: () => store.close() };
}

const preview = 'web--fix-42';

describe('visits', () => {
  it('are kept with the sandbox as hashes, told to proxies, and are no change of what is asked for', async () => {
    await using s = await withSandbox();
    const { generation } = s.store.get('sandbox', 'fix-42')!;
    const told: RouteChange[] = [];
    const routes = followRoutes(s.store, storeBaseline(s.store), changes => told.push(...changes));
    await s.visiting.enter({ preview, token: hash('1'), by: { key: hash('a') } });
    routes.flush();
    routes.stop();
    assert.deepEqual(s.noted(), { [hash('1')]: { preview, key: hash('a') } });
    assert.deepEqual(
      told.filter(({ kind }) => kind === 'visit'),
      [{ kind: 'visit', name: hash('1'), value: { preview, key: hash('a') } }],
    );
    assert.equal(s.store.get('sandbox', 'fix-42')!.generation, generation);
  });

  it('are refused without a key, a preview, or a token', async () => {
    await using s = await withSandbox();
    const refused: [string, string, string, string][] = [
      [preview, hash('1'), hash('c'), 'preview/unauthorized'],
      ['api--fix-42', hash('1'), hash('a'), 'preview/unknown'],
      ['web--other', hash('1'), hash('a'), 'preview/unknown'],
      [preview, '__proto__', hash('a'), 'preview/unknown'],
    ];
    for (const [label, token, key, code] of refused)
      await assert.rejects(s.visiting.enter({ preview: label, token, by: { key } }), { code }, code);
    assert.deepEqual(s.noted(), {});
  });

  it('stay a hundred at most: those whose key is gone make room first', async () => {
    await using s = await withSandbox();
    const token = (i: number) => i.toString(16).padStart(64, '0');
    const enter = (i: number, key: string) => s.visiting.enter({ preview, token: token(i), by: { key } });
    for (let i = 0; i < 60; i++) await enter(i, i % 2 === 0 ? hash('a') : hash('b'));
    s.keys.delete(hash('b'));
    for (let i = 60; i < 140; i++) await enter(i, hash('a'));
    const kept = Object.entries(s.noted());
    assert.equal(kept.length, 100);
    assert.ok(kept.every(([, { key }]) => key === hash('a')));
    assert.deepEqual([kept[0]![0], kept.at(-1)![0]], [token(20), token(139)]);
  });
});

describe('links', () => {
  it('open once, one preview, within their time, for as long as the key is there', async () => {
    await using s = await withSandbox();
    const link = async () => ({ link: await sha(s.visiting.link({ preview, key: hash('a') })) });
    const enter = (by: { link: string }, label = preview) =>
      s.visiting.enter({ preview: label, token: hash('1'), by });
    const used = { code: 'preview/link-used' };
    const one = await link();
    await enter(one);
    assert.deepEqual(s.noted(), { [hash('1')]: { preview, key: hash('a') } });
    await assert.rejects(enter(one), used);
    const late = await link();
    s.clock.now += LINK_MS + 1;
    await assert.rejects(enter(late), used);
    await assert.rejects(enter({ link: hash('9') }), used);
    const revoked = await link();
    s.keys.delete(hash('a'));
    await assert.rejects(enter(revoked), { code: 'preview/unauthorized' });
  });

  it('of which one was used twice at once, let in one', async () => {
    await using s = await withSandbox();
    const by = { link: await sha(s.visiting.link({ preview, key: hash('a') })) };
    const both = await Promise.allSettled(
      ['1', '2'].map(token => s.visiting.enter({ preview, token: hash(token), by })),
    );
    assert.deepEqual(
      both.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
  });
});
