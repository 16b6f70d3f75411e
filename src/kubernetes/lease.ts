/**
 * One of several decides: whoever holds a Lease of the cluster (coordination.k8s.io/v1), as client-go's leader election
 * does it. Two never do at once, and no clock of another machine is asked for it:
 *
 * - Who holds it may decide for `renewMs` from the moment before it *asked* for the renewal that was granted.
 * - Who wants it waits until the Lease has stood still for as long as is written in it (`durationMs`), by its own clock and
 *   from the moment when it *saw* that; and then it writes by compare-and-swap.
 *
 * Seeing comes after asking, so between both lie at least `durationMs - renewMs`, for the last writes of the one to arrive.
 */
import { type Clock, realClock } from '../lib/clock.ts';
import { Listeners } from '../lib/listeners.ts';
import type { Log } from '../lib/log.ts';
import { OffshootError } from '../model/errors.ts';
import { type ClusterClient, isCode } from './client.ts';
import { annotations } from './kinds.ts';
import { type KubernetesObject, resources } from './resource.ts';

export type Holder = {
  readonly identity: string;
  /** What it says of itself to those that do not hold it. */
  readonly says: string;
};

export type LeaseOptions = {
  /** Closed by whoever made it. */
  readonly client: Pick<ClusterClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly name: string;
  /** Of this process; nobody else ever has the same while it lives. Who had it before it must have ended. */
  readonly identity: string;
  readonly says: string;
  readonly log: Log;
  /** Milliseconds, see above; default 15 000 and 10 000. */
  readonly durationMs?: number;
  readonly renewMs?: number;
  /** Milliseconds between two looks, default 2 000. */
  readonly everyMs?: number;
  readonly clock?: Clock;
};

export type Candidacy = {
  /** Resolves when we hold it. */
  readonly won: Promise<void>;
  /** Aborts when we held it and do not any more: kubernetes/lease-lost. There is no way back for this process. */
  readonly lost: AbortSignal;
  /** Milliseconds for which we may still decide; 0: we may not. */
  leftMs(): number;
  /** Who holds it, as far as is known; undefined: nobody does. */
  holder(): Holder | undefined;
  /** Why the last look has failed. */
  failure(): OffshootError | undefined;
  /** Calls `listener` when it may be somebody else's. @returns the way to stop that */
  onChange(listener: () => void): () => void;
  /** Looks at it now, e.g. because somebody has seen that it was given up. */
  look(): void;
  /** Ends it, and gives the Lease up if it is ours: to be called when nothing is decided here any more. */
  release(): Promise<void>;
};

export function contendFor(o: LeaseOptions): Candidacy {
  const { client, namespace, name, identity, says, log, clock = realClock } = o;
  const { durationMs = 15_000, renewMs = 10_000, everyMs = 2_000 } = o;
  const place = { namespace, name };
  const changed = new Listeners<void>(err => log.error({ err }, 'who is told of a lease has failed'));
  const { promise: won, resolve: isWon } = Promise.withResolvers<void>();
  const lost = new AbortController();
  /** Cuts what is being asked. */
  const over = new AbortController();
  let known: Lease | undefined;
  /** When we last saw a change, and for how long what we saw then counts. */
  let [seenAt, forMs] = [0, 0];
  let holder: Holder | undefined;
  let failure: OffshootError | undefined;
  let [validUntil, isOurs] = [0, false];
  let running: Promise<void> | undefined;
  /** Somebody wanted a look while there was one. */
  let again = false;
  let [stopPause, stopEnd] = [() => {}, () => {}];

  function note(lease: Lease | undefined): void {
    if (lease?.metadata.resourceVersion !== known?.metadata.resourceVersion) seenAt = clock.now();
    known = lease;
    // Somebody has deleted it: who held it does not know yet.
    if (lease === undefined) return;
    forMs = (lease.spec?.leaseDurationSeconds ?? durationMs / 1_000) * 1_000;
    const next = holderOf(lease);
    const isSame = next?.identity === holder?.identity && next?.says === holder?.says;
    holder = next;
    if (!isSame) changed.tell();
  }

  /** Whether somebody else may still decide. */
  const isTaken = (): boolean =>
    holder !== undefined && holder.identity !== identity && clock.now() - seenAt <= forMs;

  async function tryIt(signal: AbortSignal): Promise<void> {
    const limits = { signal, deadlineMs: renewMs };
    note(await client.get<Lease>(resources.Lease, place, limits));
    if (isTaken()) {
      if (isOurs) lose(`${holder?.identity} holds it`);
      return;
    }
    const asked = clock.now();
    const next = leaseOf();
    try {
      note(
        known === undefined
          ? await client.create<Lease>(resources.Lease, next, limits)
          : await client.replace<Lease>(resources.Lease, next, limits),
      );
    } catch (error) {
      // Somebody else was first; who that is, the next look tells.
      if (!isCode(error, 'kubernetes/conflict') || isOurs) throw error;
      return;
    }
    hold(asked + renewMs);
  }

  function hold(until: number): void {
    if (over.signal.aborted || clock.now() >= until) return;
    validUntil = until;
    stopEnd();
    stopEnd = clock.after(until - clock.now(), () =>
      lose(failure === undefined ? 'nobody was asked in time' : failure.message),
    );
    if (isOurs) return;
    isOurs = true;
    log.info({ lease: name, namespace, identity }, 'this one decides');
    isWon();
  }

  function lose(why: string): void {
    if (over.signal.aborted) return;
    end();
    lost.abort(new OffshootError('kubernetes/lease-lost', { name, namespace, why }));
  }

  function end(): void {
    validUntil = 0;
    stopPause();
    stopEnd();
    over.abort(new Error('it is over'));
  }

  function leaseOf(): Lease {
    const now = new Date().toISOString().replace('Z', '000Z'); // microseconds
    const { spec, metadata } = known ?? {};
    const isNew = holder?.identity !== identity;
    return {
      ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
      metadata: {
        ...(metadata ?? place),
        annotations: { ...metadata?.annotations, [annotations.controller]: says },
      },
      spec: {
        ...{ holderIdentity: identity, leaseDurationSeconds: Math.ceil(durationMs / 1_000), renewTime: now },
        acquireTime: isNew ? now : (spec?.acquireTime ?? now),
        leaseTransitions: (spec?.leaseTransitions ?? 0) + (isNew && known !== undefined ? 1 : 0),
      },
    };
  }

  async function look(): Promise<void> {
    const cut = new AbortController();
    const stop = clock.after(renewMs, () => cut.abort(new Error('no answer in time')));
    try {
      await tryIt(AbortSignal.any([cut.signal, over.signal]));
      failure = undefined;
    } catch (error) {
      if (over.signal.aborted) return;
      if (failure === undefined) log.warn({ err: error, lease: name }, 'a lease cannot be had');
      const params = { verb: 'get', what: `leases "${name}"`, why: (error as Error).message };
      failure =
        error instanceof OffshootError
          ? error
          : new OffshootError('kubernetes/unreachable', params, { cause: error });
    } finally {
      stop();
    }
  }

  function start(): void {
    stopPause();
    if (over.signal.aborted) return;
    if (running !== undefined) {
      again = true;
      return;
    }
    running = look().then(() => {
      running = undefined;
      if (over.signal.aborted) return;
      // A fifth more or less, so that those who wait do not all ask at once.
      stopPause = clock.after(again ? 0 : everyMs * (0.8 + Math.random() * 0.4), start);
      again = false;
    });
  }
  start();

  return {
    ...{ won, lost: lost.signal },
    leftMs: () => Math.max(0, validUntil - clock.now()),
    holder: () => holder,
    failure: () => failure,
    onChange: changed.add,
    look: start,
    async release() {
      const wasOurs = isOurs && !lost.signal.aborted;
      end();
      await running;
      if (!wasOurs) return;
      try {
        const now = await client.get<Lease>(resources.Lease, place, { deadlineMs: RELEASE_MS });
        if (now?.spec?.holderIdentity !== identity) return;
        const free = { ...now, spec: { ...now.spec, holderIdentity: '', leaseDurationSeconds: 1 } };
        await client.replace(resources.Lease, free, { deadlineMs: RELEASE_MS });
      } catch (err) {
        log.warn({ err, lease: name }, 'a lease could not be given up: it ends by itself');
      }
    },
  };
}

/** The same client for who decides: it writes only as long as we may, and waits no longer for an answer. */
export function whileHeld(client: ClusterClient, lease: Pick<Candidacy, 'leftMs' | 'lost'>): ClusterClient {
  const within = <L extends { readonly deadlineMs?: number }>(limits: L | undefined): L => {
    const leftMs = lease.leftMs();
    if (leftMs === 0) throw lease.lost.reason ?? new OffshootError('kubernetes/lease-lost', LATE);
    return { ...limits, deadlineMs: Math.min(limits?.deadlineMs ?? leftMs, leftMs) } as L;
  };
  return {
    ...client,
    create: async (resource, object, limits) => client.create(resource, object, within(limits)),
    replace: async (resource, object, options) => client.replace(resource, object, within(options)),
    apply: async (resource, object, limits) => client.apply(resource, object, within(limits)),
    remove: async (resource, place, options) => client.remove(resource, place, within(options)),
  };
}

// --- internal -----------------------------------------------------------------------------------

const RELEASE_MS = 2_000;
const LATE = { name: 'of controllers', namespace: 'ours', why: 'it was not renewed in time' };

type Lease = KubernetesObject & {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
};

function holderOf({ metadata, spec }: Lease): Holder | undefined {
  const identity = spec?.holderIdentity;
  if (!identity) return undefined;
  return { identity, says: metadata.annotations?.[annotations.controller] ?? '' };
}
