/**
 * The store on the objects of a cluster: reads come from informers' caches, writes are compare-and-swap on
 * resourceVersions, and several processes may write at once. How an object and its Secret hold together is told in
 * kubernetes-object.ts and kubernetes-secrets.ts.
 *
 * What somebody else did is shown when this process learns of it; what this one did, when all requests of that write have
 * been answered, so nobody sees a write by halves. The counter (`version`) is this process's own: it begins at the time of
 * its start in microseconds, so that a number of another process, or of an earlier one, is never taken for one of ours.
 *
 * It is long because writing, showing and completing an object share the queue of that object: apart they would have to hand
 * it to each other. What needs no queue is in the files beside it.
 */
import { isDeepStrictEqual } from 'node:util';
import { type ClusterClient, isCode } from '../kubernetes/client.ts';
import { type Informer, type InformerOptions, type InformerState, informer } from '../kubernetes/informer.ts';
import { clusterKinds, isKept, type KeptKind, keptKinds, objectName } from '../kubernetes/kinds.ts';
import { withReady } from '../kubernetes/ready.ts';
import { type KubernetesObject, resourceOf } from '../kubernetes/resource.ts';
import { type Log, silentLog } from '../lib/log.ts';
import { backoffMs, delay } from '../lib/wait.ts';
import { OffshootError } from '../model/errors.ts';
import type { Changes, Fields, Kind, Kinds, Store, Stored, StoreEvent } from './contract.ts';
import type { Entry } from './journal.ts';
import { compare, type Difference, freeze, Known, keyOf, plain, shortened } from './known.ts';
import { type Events, type Heard, openEvents } from './kubernetes-events.ts';
import {
  generationOf,
  isGone,
  isInPlace,
  isNoted,
  nameOf,
  newObject,
  noted,
  notesOf,
  toStored,
  withoutFinalizer,
} from './kubernetes-object.ts';
import { newSecretName, openSecrets, type Secrets } from './kubernetes-secrets.ts';

export type KubernetesStoreOptions = {
  /** Closed by whoever made it. */
  readonly client: ClusterClient;
  /** That of the installation. */
  readonly namespace: string;
  readonly now?: () => Date;
  readonly log?: Log;
  /** Those that are read, and may be written; nothing is known of others. Default: all that a cluster keeps. */
  readonly kinds?: readonly KeptKind[];
  /** What an object gets that was made without us, by kubectl: there is a key or password to be made up. */
  readonly secretOf?: {
    readonly [K in 'branch' | 'sandbox']?: (name: string, spec: Kinds[K]['spec']) => Kinds[K]['secret'];
  };
  /** Where the counter begins; default: see above. */
  readonly firstVersion?: number;
  /** Milliseconds for which a Secret may be missing that an object names: whoever makes both may be between the two. Default 10 000. */
  readonly patienceMs?: number;
  /** Milliseconds within which a `modify` must get through, default 30 000. */
  readonly deadlineMs?: number;
  readonly informers?: Pick<InformerOptions<unknown>, 'idleMs' | 'relistMs' | 'pauseMs'>;
  /** Told, before everything is read, what tells how far that is; see KubernetesStore.states. */
  readonly onOpening?: (states: () => readonly InformerState[]) => void;
};

export type KubernetesStore = Store & {
  /** How fresh what is read is, by resource. */
  states(): readonly InformerState[];
};

/**
 * Opens it; resolves when everything that is there has been read.
 * @throws the signal's reason
 * @throws OffshootError kubernetes/… when the Secrets cannot be listed. Kinds that cannot be listed are tried until `signal` aborts
 */
export async function openKubernetesStore(
  options: KubernetesStoreOptions,
  signal?: AbortSignal,
): Promise<KubernetesStore> {
  const { client, namespace, kinds = keptKinds } = options;
  const secrets = await openSecrets(client, namespace, kinds);
  const store = new ClusterStore(options, secrets);
  options.onOpening?.(() => store.states());
  const stopped = () => void store.close();
  signal?.addEventListener('abort', stopped, { once: true });
  try {
    await store.opened();
    signal?.throwIfAborted();
    await secrets.sweep(uid => store.objectOf(uid));
    return store;
  } catch (error) {
    await store.close();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener('abort', stopped);
  }
}

class ClusterStore implements KubernetesStore {
  readonly #client: ClusterClient;
  readonly #namespace: string;
  readonly #now: () => Date;
  readonly #log: Log;
  readonly #options: KubernetesStoreOptions;
  readonly #secrets: Secrets;
  readonly #events: Events;
  readonly #known: Known;
  readonly #informers: ReadonlyMap<KeptKind, Informer<KubernetesObject>>;
  /** Of what is known: the object that it was read from. */
  readonly #bases = new Map<string, KubernetesObject>();
  /** The last write of each object that is under way or waits. */
  readonly #tails = new Map<string, Promise<unknown>>();
  /** What else is under way, to be waited for at the end. */
  readonly #background = new Set<Promise<unknown>>();
  /** Objects that lack something which is being added. */
  readonly #completing = new Set<string>();
  /** Names of Secrets that we have given to objects that had none: nobody else makes them. */
  readonly #promised = new Set<string>();
  readonly #stopping = new AbortController();
  #isOpen = false;

  constructor(options: KubernetesStoreOptions, secrets: Secrets) {
    const { client, namespace, now = () => new Date(), log = silentLog, informers: timing = {} } = options;
    this.#client = client;
    this.#namespace = namespace;
    this.#now = now;
    this.#log = log;
    this.#options = options;
    this.#secrets = secrets;
    const version = options.firstVersion ?? Date.now() * 1_000;
    this.#known = new Known(log, { objects: [], history: [], version, forgotten: version });
    this.#events = openEvents(client, namespace, {
      ...{ now, log, timing },
      onHeard: (event, times) => this.#isOpen && this.#heard(event, times),
    });
    const watch = (kind: KeptKind) =>
      informer<KubernetesObject>({
        ...{
          client,
          namespace,
          log,
          resource: resourceOf(kind),
          keep: object => kept(kind, object, log),
          ...timing,
        },
        onChange: ({ before, now }) => this.#changed(kind, nameOf(kind, (now ?? before)!)),
      });
    this.#informers = new Map((options.kinds ?? keptKinds).map(kind => [kind, watch(kind)]));
  }

  // --- reading ----------------------------------------------------------------------------------

  get: Store['get'] = (kind, name) => this.#known.get(kind, name);
  list: Store['list'] = kind => this.#known.list(kind);
  by: Store['by'] = (index, key) => this.#known.by(index, key);
  events: Store['events'] = async filter => this.#known.events(filter);
  since: Store['since'] = version => this.#known.since(version);
  version: Store['version'] = () => this.#known.version;
  onChange: Store['onChange'] = listener => this.#known.onChange(listener);
  onObject: Store['onObject'] = (kind, name, listener) => this.#known.onObject(kind, name, listener);

  states(): readonly InformerState[] {
    return [...this.#informers.values(), this.#events.informer].map(one => one.state());
  }

  objectOf(uid: string): KubernetesObject | undefined {
    for (const one of this.#informers.values())
      for (const [, object] of one.entries()) if (object.metadata.uid === uid) return object;
    return undefined;
  }

  /** Everything that was there is known. */
  async opened(): Promise<void> {
    await Promise.all([...this.#informers.values(), this.#events.informer].map(one => one.synced));
    const heard = [...this.#events.informer.entries()].map(([, event]) => event);
    for (const event of heard.sort((a, b) => (a.at < b.at ? -1 : 1))) this.#heard(event, 1);
    this.#isOpen = true;
    const all = [...this.#informers].flatMap(([kind, one]) =>
      [...one.entries()].map(([, object]) => ({ kind, object, at: createdOf(object) })),
    );
    for (const { kind, object } of all.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0)))
      this.#settle(kind, nameOf(kind, object));
  }

  // --- writing ----------------------------------------------------------------------------------

  create<K extends Kind>(kind: K, name: string, fields: Fields<K>): Promise<Stored<K>> {
    const key = refused(kind);
    if (key !== undefined) return Promise.reject(key);
    return this.#write(kind as KeptKind, name, () =>
      this.#create(kind as KeptKind, name, plain(fields) as Fields<KeptKind>),
    ) as Promise<Stored<K>>;
  }

  update<K extends Kind>(kind: K, name: string, version: number, changes: Changes<K>): Promise<Stored<K>> {
    return this.#write(kind, name, async () => {
      for (;;) {
        const before = this.#expect(kind, name, version);
        const difference = compare(before, changes);
        if (difference === undefined) return before;
        const done = await this.#change(kind as KeptKind, before as never, difference as never);
        if (done !== undefined) return done as never;
        // Somebody has changed it, or only what is none of ours: the version tells.
      }
    });
  }

  modify<K extends Kind>(
    kind: K,
    name: string,
    change: (object: Stored<K>) => Changes<K> | undefined,
  ): Promise<Stored<K> | undefined> {
    return this.#write(kind, name, async () => {
      const end = performance.now() + (this.#options.deadlineMs ?? 30_000);
      for (let tries = 0; ; tries++) {
        const before = this.get(kind, name);
        const difference = before === undefined ? undefined : compare(before, change(before) ?? {});
        if (before === undefined || difference === undefined) return before;
        try {
          const done = await this.#change(kind as KeptKind, before as never, difference as never);
          if (done !== undefined) return done as never;
        } catch (error) {
          if (!isPassing(error) || performance.now() > end) throw error;
          // Whether it was done is not known; `change` decides by what is there now.
          await this.#refresh(kind as KeptKind, name).catch(() => {});
        }
        if (performance.now() > end)
          throw new OffshootError('store/conflict', { kind, name, why: 'others write to it all the time' });
        if (tries > 0) await delay(backoffMs(tries - 1, 5, 1_000), this.#stopping.signal);
      }
    });
  }

  async remove(kind: Kind, name: string, version?: number): Promise<void> {
    await this.#write(kind, name, async () => {
      if (!isKept(kind)) return;
      for (;;) {
        if (this.get(kind, name) === undefined) return;
        if (version !== undefined) this.#expect(kind, name, version);
        if (await this.#remove(kind, name, version !== undefined)) return;
      }
    });
  }

  async record(event: Omit<StoreEvent, 'version' | 'at'>): Promise<void> {
    await this.#write(undefined, '', async () => {
      const said = { ...event, message: shortened(event.message) };
      const uid = this.#bases.get(keyOf(event.kind, event.name))?.metadata.uid;
      if (isKept(event.kind)) await this.#events.write(said, uid);
      this.#tell(said, this.#now().toISOString());
    });
  }

  async close(): Promise<void> {
    this.#known.deafen();
    this.#isOpen = false;
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
    this.#stopping.abort(new Error('the store is closed'));
    await Promise.allSettled(this.#background);
    await Promise.all([...this.#informers.values(), this.#events.informer].map(one => one.close()));
  }

  // --- one write --------------------------------------------------------------------------------

  /** One after the other for each object. What the informers tell of it meanwhile is shown when it has ended. */
  #write<T>(kind: Kind | undefined, name: string, write: () => Promise<T>): Promise<T> {
    if (!this.#isOpen) return Promise.reject(new Error('the store is closed'));
    if (kind === undefined) return this.#inBackground(write());
    const key = keyOf(kind, name);
    const before = this.#tails.get(key);
    const run = (before ?? Promise.resolve()).then(write);
    const tail: Promise<unknown> = run
      .catch(() => {})
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
        if (isKept(kind)) this.#settle(kind, name);
      });
    this.#tails.set(key, tail);
    return run;
  }

  #inBackground<T>(work: Promise<T>): Promise<T> {
    this.#background.add(work);
    const over = () => void this.#background.delete(work);
    work.then(over, over);
    return work;
  }

  /** @throws OffshootError store/conflict */
  #expect<K extends Kind>(kind: K, name: string, version: number): Stored<K> {
    const object = this.get(kind, name);
    if (object?.version === version) return object;
    const why = object === undefined ? 'it is gone' : `it is at version ${object.version}, not ${version}`;
    throw new OffshootError('store/conflict', { kind, name, why });
  }

  async #create(kind: KeptKind, name: string, fields: Fields<KeptKind>): Promise<Stored<KeptKind>> {
    const taken = new OffshootError('api/conflict', { kind, name });
    if (this.get(kind, name) !== undefined) throw taken;
    const at = this.#now().toISOString();
    const hasSecret = clusterKinds[kind].secret;
    const secret = hasSecret ? newSecretName(kind, objectName(kind, name)) : undefined;
    const notes = {
      created: fields.createdAt ?? at,
      updated: { generation: 1, at },
      ...(secret && { secret }),
    };
    const wanted = newObject(kind, name, this.#namespace, fields.spec, notes);
    let made: KubernetesObject;
    try {
      made = await this.#client.create(resourceOf(kind), wanted);
    } catch (error) {
      if (isCode(error, 'kubernetes/conflict')) {
        await this.#refresh(kind, name);
        throw taken;
      }
      if (!isPassing(error)) throw error;
      const found = await this.#read(kind, name);
      if (found === undefined || !isDeepStrictEqual(notesOf(found), notes)) throw error;
      made = found; // it was done, and its answer was lost
    }
    this.#offer(kind, made);
    // From here on it is there: who finds it without its Secret waits for us, and makes one when we do not come.
    if (secret !== undefined)
      await this.#persist(() => this.#secrets.create(kind, made, secret, fields.secret));
    if (fields.status !== null) await this.#putStatus(kind, made, fields.status);
    this.#settle(kind, name, true);
    return this.#stored(kind, name);
  }

  /** @throws OffshootError store/conflict when somebody has removed it since it was written */
  #stored(kind: KeptKind, name: string): Stored<KeptKind> {
    const stored = this.get(kind, name);
    if (stored === undefined) throw new OffshootError('store/conflict', { kind, name, why: 'it is gone' });
    return stored;
  }

  /** @returns undefined when the object has moved on; then the newer one is known */
  async #change(
    kind: KeptKind,
    before: Stored<KeptKind>,
    difference: Difference<KeptKind>,
  ): Promise<Stored<KeptKind> | undefined> {
    const { name } = before;
    const base = this.#bases.get(keyOf(kind, name))!;
    const at = this.#now().toISOString();
    const hasSpec = 'spec' in difference;
    const old = notesOf(base).secret;
    const secret = 'secret' in difference ? newSecretName(kind, base.metadata.name) : undefined;
    let object = base;
    if (secret !== undefined) await this.#secrets.create(kind, base, secret, difference.secret);
    if (hasSpec || secret !== undefined || difference.deleted) {
      const notes = {
        ...(secret !== undefined && { secret }),
        ...(hasSpec && { updated: { generation: before.generation + 1, at } }),
        ...(difference.deleted && { deleted: at }),
      };
      const kept = clusterKinds[kind].finalizer || difference.deleted === true;
      const next = noted(kind, name, hasSpec ? { ...base, spec: difference.spec } : base, notes, kept);
      const done = await this.#replace(kind, name, next);
      if (done === undefined) {
        if (secret !== undefined) this.#dropSecret(secret);
        return undefined;
      }
      object = done;
    }
    if (secret !== undefined && old !== undefined && old !== secret) this.#dropSecret(old);
    if ('status' in difference) {
      const done = await this.#putStatus(kind, object, difference.status);
      if (done === undefined && object === base) return undefined;
      object = done ?? object;
    }
    if (difference.deleted) await this.#delete(kind, object);
    this.#settle(kind, name, true);
    return this.#stored(kind, name);
  }

  /** @returns undefined when it has moved on; then the newer one is known */
  async #replace(
    kind: KeptKind,
    name: string,
    object: KubernetesObject,
    subresource?: 'status',
  ): Promise<KubernetesObject | undefined> {
    try {
      const done = await this.#client.replace(resourceOf(kind), object, {
        ...(subresource && { subresource }),
      });
      this.#offer(kind, done);
      return done;
    } catch (error) {
      const hasMovedOn = isCode(error, 'kubernetes/conflict') || isCode(error, 'kubernetes/absent');
      if (!hasMovedOn) throw error;
      await this.#refresh(kind, name);
      return undefined;
    }
  }

  /**
   * A status is what was seen of `object`: when another write has come between, it is for whoever looks next.
   * @returns undefined when it was not written
   */
  #putStatus(
    kind: KeptKind,
    object: KubernetesObject,
    status: unknown,
  ): Promise<KubernetesObject | undefined> {
    const { status: before, ...rest } = object;
    const next = status === null ? rest : { ...rest, status: withReady(status, before, this.#now()) };
    return this.#replace(kind, nameOf(kind, object), next as KubernetesObject, 'status');
  }

  /** Tells the cluster that it is to go; that this is meant is on record already. */
  async #delete(kind: KeptKind, object: KubernetesObject): Promise<void> {
    const { name, uid = '' } = object.metadata;
    const going = await this.#client.remove(resourceOf(kind), { namespace: this.#namespace, name }, { uid });
    if (going?.metadata.uid === uid) this.#offer(kind, going);
  }

  /** One try to end it. @returns false when it has moved on; then the newer one is known */
  async #remove(kind: KeptKind, name: string, exactly: boolean): Promise<boolean> {
    const base = this.#bases.get(keyOf(kind, name))!;
    const resource = resourceOf(kind);
    const { uid = '', resourceVersion = '', deletionTimestamp } = base.metadata;
    const place = { namespace: this.#namespace, name: base.metadata.name };
    try {
      let going: KubernetesObject | undefined = base;
      if (deletionTimestamp === undefined)
        going = await this.#client.remove(resource, place, { uid, ...(exactly && { resourceVersion }) });
      // What waits for nobody is gone already; the cluster says so by a Status or by the object as it was.
      if (going?.metadata?.deletionTimestamp !== undefined && !isGone(going))
        await this.#client.replace(resource, withoutFinalizer(going));
    } catch (error) {
      if (isCode(error, 'kubernetes/conflict')) {
        await this.#refresh(kind, name);
        return false;
      }
      if (!isCode(error, 'kubernetes/absent')) throw error;
    }
    this.#end(kind, base);
    return true;
  }

  #end(kind: KeptKind, object: KubernetesObject): void {
    this.#informers.get(kind)!.ended(object);
    this.#settle(kind, nameOf(kind, object), true);
  }

  async #read(kind: KeptKind, name: string): Promise<KubernetesObject | undefined> {
    return this.#client.get(resourceOf(kind), { namespace: this.#namespace, name: objectName(kind, name) });
  }

  /** Knows the object as it is in the cluster now. */
  async #refresh(kind: KeptKind, name: string): Promise<void> {
    const found = await this.#read(kind, name);
    const base = this.#bases.get(keyOf(kind, name));
    if (found === undefined) {
      if (base !== undefined) this.#end(kind, base);
      return;
    }
    this.#offer(kind, found);
    const { secret } = notesOf(found);
    if (secret !== undefined && this.#secrets.get(secret) === undefined) await this.#secrets.fetch(secret);
    this.#settle(kind, name, true);
  }

  #offer(kind: KeptKind, object: KubernetesObject): void {
    this.#informers.get(kind)!.offer(object);
  }

  #dropSecret(name: string): void {
    const dropping = this.#secrets.remove(name).catch(err => {
      this.#log.debug({ err, secret: name }, 'a Secret that nobody names could not be removed');
    });
    void this.#inBackground(dropping);
  }

  /** Some more tries of what may be repeated. */
  async #persist<T>(write: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      try {
        return await write();
      } catch (error) {
        if (!isPassing(error) || tries === 2) throw error;
        await delay(backoffMs(tries, 50, 500), this.#stopping.signal);
      }
    }
  }

  // --- what is known ----------------------------------------------------------------------------

  #changed(kind: KeptKind, name: string): void {
    if (this.#isOpen && !this.#tails.has(keyOf(kind, name))) this.#settle(kind, name);
  }

  /** Shows the object as it is in the informer's cache. @param always also in the middle of a write of ours */
  #settle(kind: KeptKind, name: string, always = false): void {
    const key = keyOf(kind, name);
    if (!always && this.#tails.has(key)) return;
    const object = this.#informers.get(kind)!.get(`${this.#namespace}/${objectName(kind, name)}`);
    const [before, base] = [this.#known.get(kind, name), this.#bases.get(key)];
    const isOther = object === undefined || isGone(object) || object.metadata.uid !== base?.metadata.uid;
    if (before !== undefined && isOther) {
      this.#bases.delete(key);
      const { secret } = notesOf(base!);
      if (secret !== undefined) this.#secrets.forget(secret);
      const version = this.#known.version + 1;
      this.#take([{ type: 'gone', before, version, at: this.#now().toISOString() }]);
    }
    if (object === undefined || isGone(object)) return;
    const { secret: secretName } = notesOf(object);
    const secret = !clusterKinds[kind].secret ? null : this.#secrets.get(secretName ?? '');
    if (secret === undefined || !isNoted(kind, object)) {
      // In the middle of a write of ours it is this very write that completes it.
      if (!this.#tails.has(key)) void this.#inBackground(this.#complete(kind, name));
      if (secret === undefined || notesOf(object).updated === undefined) return;
    }
    this.#show(kind, name, object, secret as never);
  }

  #show(kind: KeptKind, name: string, object: KubernetesObject, secret: never): void {
    const key = keyOf(kind, name);
    const before = this.#known.get(kind, name);
    this.#bases.set(key, object);
    const { version } = this.#known;
    const next: Stored<KeptKind> = toStored(kind, object, secret, before?.version ?? 0);
    if (before !== undefined && isDeepStrictEqual(next, before)) return;
    // What is the same stays the same.
    const same = Object.fromEntries(
      (['spec', 'status', 'secret'] as const).flatMap(part =>
        before !== undefined && isDeepStrictEqual(next[part], before[part]) ? [[part, before[part]]] : [],
      ),
    );
    const stored = freeze({ ...next, ...same, version: version + 1 }) as Stored<Kind>;
    this.#take([{ type: 'put', object: stored, before: before as Stored<Kind> | undefined }]);
  }

  #tell(event: Omit<StoreEvent, 'version' | 'at'>, at: string): void {
    const { kind, name, severity, reason, message } = event;
    const version = this.#known.version + 1;
    this.#take([{ type: 'event', event: { version, at, kind, name, severity, reason, message } }]);
  }

  #heard(event: Heard, times: number): void {
    for (let i = 0; i < Math.min(times, mostAtOnce); i++) this.#tell(event, event.at);
  }

  #take(entries: readonly Entry[]): void {
    const version = this.#known.version + entries.length;
    this.#known.take(entries, version, this.#known.toForget(version));
    this.#known.tell(entries);
  }

  // --- what others made -------------------------------------------------------------------------

  /** Adds what an object lacks that was not made, or not to its end, by a store. */
  async #complete(kind: KeptKind, name: string): Promise<void> {
    const key = keyOf(kind, name);
    if (this.#completing.has(key)) return;
    this.#completing.add(key);
    const { patienceMs = 10_000 } = this.#options;
    /** A Secret that is named and is not there, and since when that is known. */
    let missing: { readonly name: string; readonly since: number } | undefined;
    try {
      for (let tries = 0; !this.#stopping.signal.aborted; tries++) {
        const object = this.#informers.get(kind)!.get(`${this.#namespace}/${objectName(kind, name)}`);
        if (object === undefined || isGone(object)) return;
        try {
          if (!isNoted(kind, object)) await this.#write(kind, name, () => this.#note(kind, name));
          else {
            const { secret } = notesOf(object);
            if (secret === undefined || (await this.#secrets.fetch(secret)) !== undefined) return;
            if (missing?.name !== secret) missing = { name: secret, since: performance.now() };
            if (performance.now() - missing.since > patienceMs || this.#promised.has(secret)) {
              await this.#write(kind, name, () => this.#makeSecret(kind, name, secret));
              this.#promised.delete(secret);
              missing = undefined;
            }
          }
        } catch (err) {
          this.#log.warn({ err, kind, name }, 'an object could not be completed; it is tried again');
        }
        await delay(
          backoffMs(tries, 10, Math.max(10, Math.min(1_000, patienceMs / 4))),
          this.#stopping.signal,
        );
      }
    } catch {
      // The store is closed.
    } finally {
      this.#completing.delete(key);
      if (this.#isOpen) this.#settleCompleted(kind, name);
    }
  }

  #settleCompleted(kind: KeptKind, name: string): void {
    if (!this.#tails.has(keyOf(kind, name))) this.#settle(kind, name);
  }

  /** Our finalizer, times, the Secret's name; and the wish to delete, carried out. */
  async #note(kind: KeptKind, name: string): Promise<void> {
    const object = this.#informers.get(kind)!.get(`${this.#namespace}/${objectName(kind, name)}`);
    if (object === undefined || isGone(object) || isNoted(kind, object)) return;
    const { secret, created, updated, deleted } = notesOf(object);
    const generation = generationOf(object);
    const at = this.#now().toISOString();
    const isFirst = created === undefined;
    const notes = {
      ...(isFirst && { created: at }),
      ...(updated?.generation !== generation && { updated: { generation, at } }),
      ...(secret === undefined &&
        clusterKinds[kind].secret && { secret: await this.#secretFor(kind, object) }),
    };
    const { deletionTimestamp } = object.metadata;
    // A finalizer cannot be added to what is to go.
    const kept = clusterKinds[kind].finalizer && deletionTimestamp === undefined;
    const next = noted(kind, name, object, notes, kept);
    const done = isDeepStrictEqual(next, object) ? object : await this.#replace(kind, name, next);
    if (done !== undefined && secret === undefined && notes.secret !== undefined)
      this.#promised.add(notes.secret);
    if (done !== undefined && deleted !== undefined && deletionTimestamp === undefined)
      await this.#delete(kind, done);
  }

  /** The one that it had, when only its name was lost; or a name for a new one. */
  async #secretFor(kind: KeptKind, object: KubernetesObject): Promise<string> {
    const [owned] = await this.#secrets.ownedBy(object);
    return owned ?? newSecretName(kind, object.metadata.name);
  }

  async #makeSecret(kind: KeptKind, name: string, secret: string): Promise<void> {
    await this.#refresh(kind, name);
    const object = this.#informers.get(kind)!.get(`${this.#namespace}/${objectName(kind, name)}`);
    if (object === undefined || isGone(object) || notesOf(object).secret !== secret) return;
    const make = (
      this.#options.secretOf as Record<string, ((name: string, spec: never) => unknown) | undefined>
    )?.[kind];
    if (make === undefined) {
      this.#log.warn({ kind, name, secret }, 'an object has no Secret, and nobody here makes one');
      return;
    }
    const isLost = this.#known.get(kind, name) !== undefined;
    if (isLost)
      this.#log.error({ kind, name, secret }, 'the Secret of an object was deleted; it gets a new one');
    await this.#secrets.create(kind, object, secret, make(name, (object.spec ?? {}) as never));
  }
}

// --- internal -----------------------------------------------------------------------------------

/** An event of others that is said more often than this between two looks is shown so often. */
const mostAtOnce = 10;

/** Worth another try. */
const isPassing = (error: unknown): boolean =>
  isCode(error, 'kubernetes/unreachable') || isCode(error, 'kubernetes/unavailable');

const refused = (kind: Kind): OffshootError | undefined =>
  isKept(kind) ? undefined : new OffshootError('kubernetes/not-kept', { kind });

const createdOf = (object: KubernetesObject): string =>
  notesOf(object).created ?? object.metadata.creationTimestamp ?? '';

/** What the cluster notes about who wrote which field is as long as the rest, and of no use here. */
function kept(kind: KeptKind, object: KubernetesObject, log: Log): KubernetesObject | undefined {
  if (!isInPlace(kind, object)) {
    const { name } = object.metadata;
    log.warn({ kind, name }, 'an object has a name that it would not be found by; it is left alone');
    return undefined;
  }
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
