/**
 * A store that is as unhelpful as the contract allows: writes take their time, those to different objects overtake one
 * another, and a write that names a version is refused now and then as if somebody else had been first. Only what
 * happens to one object keeps its order. The same seed makes the same trouble.
 */
import { OffshootError } from '../../src/model/errors.ts';
import type { Changes, Kind, Store, Stored } from '../../src/store/contract.ts';
import { chance } from './random.ts';

/** Of 100 writes that name a version, so many are refused. */
const refused = 30;
/** A write waits for so many turns of the event loop at most. */
const mostTurns = 6;

export function adverseStore(store: Store, seed: number): Store {
  const random = chance(seed);
  const tails = new Map<string, Promise<unknown>>();

  /** After whatever was asked for this object before, and a while. */
  const later = <T>(key: string, write: () => Promise<T>): Promise<T> => {
    const turns = random.below(mostTurns);
    const run = (tails.get(key) ?? Promise.resolve()).then(async () => {
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      return write();
    });
    const tail = run.catch(() => {});
    tails.set(key, tail);
    void tail.then(() => tails.get(key) === tail && tails.delete(key));
    return run;
  };
  const refuseSometimes = (kind: Kind, name: string): void => {
    if (random.often(refused) && store.get(kind, name) !== undefined)
      throw new OffshootError('store/conflict', { kind, name, why: 'by chance' });
  };
  const keyOf = (kind: Kind, name: string) => `${kind}/${name}`;

  const update: Store['update'] = (kind, name, version, changes) =>
    later(keyOf(kind, name), async () => {
      refuseSometimes(kind, name);
      return store.update(kind, name, version, changes);
    });

  return {
    ...readsOf(store),
    update,
    create: (kind, name, fields) => later(keyOf(kind, name), () => store.create(kind, name, fields)),
    async modify<K extends Kind>(
      kind: K,
      name: string,
      change: (object: Stored<K>) => Changes<K> | undefined,
    ): Promise<Stored<K> | undefined> {
      for (;;) {
        await tails.get(keyOf(kind, name));
        const object = store.get(kind, name);
        const changes = object === undefined ? undefined : change(object);
        if (object === undefined || changes === undefined) return object;
        try {
          return await update(kind, name, object.version, changes);
        } catch (error) {
          if (!(error instanceof OffshootError) || error.code !== 'store/conflict') throw error;
        }
      }
    },
    remove: (kind, name, version) =>
      later(keyOf(kind, name), async () => {
        if (version !== undefined) refuseSometimes(kind, name);
        await store.remove(kind, name, version);
      }),
    record: event => later(`event/${event.kind}/${event.name}`, () => store.record(event)),
    async close() {
      await Promise.all(tails.values());
      await store.close();
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const readsOf = (store: Store) => ({
  get: store.get.bind(store),
  list: store.list.bind(store),
  by: store.by.bind(store),
  events: store.events.bind(store),
  since: store.since.bind(store),
  version: store.version.bind(store),
  onChange: store.onChange.bind(store),
  onObject: store.onObject.bind(store),
});
