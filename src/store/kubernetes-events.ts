/**
 * Events of the store as Events of the cluster (core/v1), so that `kubectl describe` shows them. What is said once more of
 * the same object in the same words is counted, as Kubernetes' own controllers do it, and what is said while that is being
 * written shares the write. An event that cannot be written is not worth a failure: it is logged.
 */
import { randomBytes } from 'node:crypto';
import { type ClusterClient, isCode } from '../kubernetes/client.ts';
import { type Informer, type InformerOptions, informer } from '../kubernetes/informer.ts';
import {
  apiVersion,
  clusterKinds,
  group,
  isKept,
  keptKinds,
  objectName,
  storedName,
} from '../kubernetes/kinds.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import type { Log } from '../lib/log.ts';
import type { Kind, StoreEvent } from './contract.ts';

type Said = Pick<StoreEvent, 'kind' | 'name' | 'severity' | 'reason' | 'message'>;

export type Events = {
  /** Resolves when it is written, or cannot be. */
  write(event: Said, uid: string | undefined): Promise<void>;
  readonly informer: Informer<Heard>;
};

/** An event as another process, or an earlier one, has written it. */
export type Heard = Said & { readonly at: string; readonly count: number; readonly isOwn: boolean };

const component = `${group}/controller`;
/** How many different events are remembered, to count those that come again. */
const remembered = 500;
/** Milliseconds; nobody waits for an event as he does for a write. */
const deadlineMs = 5_000;

export function openEvents(
  client: ClusterClient,
  namespace: string,
  {
    now,
    log,
    timing,
    onHeard,
  }: {
    readonly now: () => Date;
    readonly log: Log;
    readonly timing: Pick<InformerOptions<Heard>, 'idleMs' | 'relistMs' | 'pauseMs'>;
    /** Somebody else has said this, `times` times more than was known. */
    readonly onHeard: (event: Heard, times: number) => void;
  },
): Events {
  const identity = randomBytes(8).toString('hex');
  const written = new Map<string, KubernetesObject & { readonly count: number }>();
  /** Of one event, by its words: the write that is under way, and how often it was said since that began. */
  const writing = new Map<string, { more: number; next: Promise<void> | undefined; now: Promise<void> }>();

  async function put(key: string, event: Said, uid: string | undefined, times: number): Promise<void> {
    const at = now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z');
    const before = written.get(key);
    try {
      if (before !== undefined) {
        const { resourceVersion: _, ...metadata } = before.metadata;
        const again = { ...before, metadata, count: before.count + times, lastTimestamp: at };
        written.set(key, await client.replace(resources.Event, again, { deadlineMs }));
        return;
      }
    } catch (error) {
      if (!isCode(error, 'kubernetes/absent')) throw error; // the cluster has forgotten it after its hour
    }
    const made = await client.create(
      resources.Event,
      { ...eventOf(event, uid, at), count: times },
      { deadlineMs },
    );
    written.delete(key);
    written.set(key, made);
    if (written.size > remembered) written.delete(written.keys().next().value!);
  }

  const eventOf = (event: Said, uid: string | undefined, at: string): KubernetesObject => {
    const name = isKept(event.kind) ? objectName(event.kind, event.name) : event.name;
    const kind = isKept(event.kind) ? clusterKinds[event.kind].kind : event.kind;
    return {
      ...{ apiVersion: 'v1', kind: 'Event' },
      metadata: { name: `${name.slice(0, 200)}.${randomBytes(6).toString('hex')}`, namespace },
      involvedObject: { apiVersion, kind, namespace, name, ...(uid !== undefined && { uid }) },
      ...{
        type: event.severity === 'info' ? 'Normal' : 'Warning',
        reason: event.reason,
        message: event.message,
      },
      ...{ reportingComponent: component, reportingInstance: identity, source: { component } },
      ...{ firstTimestamp: at, lastTimestamp: at },
    };
  };

  const heard = informer<Heard>({
    ...{ client, resource: resources.Event, namespace, log, ...timing },
    selection: { fieldSelector: `reportingComponent=${component}` },
    keep: object => heardOf(object, identity),
    onChange({ before, now }) {
      if (now === undefined || now.isOwn) return;
      const times = now.count - (before?.count ?? 0);
      if (times > 0) onHeard(now, times);
    },
  });

  return {
    informer: heard,
    async write(event, uid) {
      const key = JSON.stringify([event.kind, event.name, event.severity, event.reason, event.message]);
      const attempt = (times: number) =>
        put(key, event, uid, times).catch(err => {
          const { kind, name, reason } = event;
          log.warn({ err, kind, name, reason }, 'an event could not be written');
        });
      const running = writing.get(key);
      if (running !== undefined) {
        running.more += 1;
        running.next ??= running.now.then(async () => {
          const { more } = running;
          Object.assign(running, { more: 0, next: undefined });
          running.now = attempt(more);
          await running.now;
          if (running.next === undefined) writing.delete(key);
        });
        return running.next;
      }
      const one = { more: 0, next: undefined as Promise<void> | undefined, now: attempt(1) };
      writing.set(key, one);
      await one.now;
      if (one.next === undefined) writing.delete(key);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const kindOf = new Map<string, Kind>(keptKinds.map(kind => [clusterKinds[kind].kind, kind]));

/** @returns undefined for one of an object that is none of ours */
function heardOf(object: KubernetesObject, identity: string): Heard | undefined {
  const { involvedObject, type, reason, message, lastTimestamp, count, reportingInstance } = object as {
    readonly involvedObject?: { readonly kind?: string; readonly name?: string };
    readonly [field: string]: unknown;
  };
  const kind = kindOf.get(involvedObject?.kind ?? '');
  if (kind === undefined || involvedObject?.name === undefined || !isKept(kind)) return undefined;
  return {
    ...{
      kind,
      name: storedName(kind, involvedObject.name),
      severity: type === 'Warning' ? 'warning' : 'info',
    },
    ...{ reason: String(reason ?? ''), message: String(message ?? ''), at: timeOf(lastTimestamp) },
    ...{ count: typeof count === 'number' ? count : 1, isOwn: reportingInstance === identity },
  };
}

function timeOf(time: unknown): string {
  const at = Date.parse(String(time));
  return new Date(Number.isNaN(at) ? 0 : at).toISOString();
}
