/**
 * One namespace has one installation: two of them (two releases of the chart) would both decide on the same objects. Each has a
 * Lease for its own controllers; of several Leases the oldest is the one whose controllers decide, unless nobody has renewed it for
 * a while, by our own clock.
 */
import type { ClusterClient } from '../kubernetes/client.ts';
import { annotations } from '../kubernetes/kinds.ts';
import { type KubernetesObject, resources } from '../kubernetes/resource.ts';
import type { Log } from '../lib/log.ts';
import { repeat } from '../lib/repeat.ts';

export type Rivals = {
  /** Whether it is known that there are none. */
  readonly none: Promise<void>;
  /** Aborts when there is one after there was none. */
  readonly found: AbortSignal;
  /** Which there is, in a sentence. */
  problems(): readonly string[];
  close(): Promise<void>;
};

/** @param own name of our Lease, which is there */
export function watchRivals({
  client,
  namespace,
  name: own,
  log,
  everyMs = 2_000,
  stillMs = 60_000,
}: {
  readonly client: Pick<ClusterClient, 'pages'>;
  readonly namespace: string;
  readonly name: string;
  readonly log: Log;
  /** Milliseconds between two looks. */
  readonly everyMs?: number;
  /** Milliseconds without a renewal after which nobody counts any more. */
  readonly stillMs?: number;
}): Rivals {
  const { promise: none, resolve: isNone } = Promise.withResolvers<void>();
  const found = new AbortController();
  /** By name: what was seen of it last, and since when it stands still. */
  const seen = new Map<string, { readonly version: string; readonly since: number }>();
  let [rival, wasNone] = [undefined as string | undefined, false];

  async function look(): Promise<number> {
    const leases: KubernetesObject[] = [];
    for await (const { items } of client.pages(resources.Lease, { namespace })) leases.push(...items);
    const controllers = leases.filter(
      ({ metadata }) => annotations.controller in (metadata.annotations ?? {}),
    );
    const ours = controllers.find(({ metadata }) => metadata.name === own);
    const now = performance.now();
    const alive = controllers.filter(({ metadata: { name, resourceVersion: version = '' } }) => {
      const before = seen.get(name);
      if (before?.version !== version) seen.set(name, { version, since: now });
      return now - seen.get(name)!.since < stillMs;
    });
    const [first] = alive.filter(one => one !== ours).filter(one => ours === undefined || isOlder(one, ours));
    rival = first?.metadata.name;
    if (rival === undefined) {
      wasNone = true;
      isNone();
    } else if (wasNone) found.abort(new Error(sentence(namespace, rival)));
    return everyMs;
  }

  const looking = repeat(look, err =>
    log.debug({ err }, 'whether there is another installation is not known'),
  );
  return {
    ...{ none, found: found.signal },
    problems: () => (rival === undefined ? [] : [sentence(namespace, rival)]),
    close: looking.stop,
  };
}

// --- internal ------------------------------------------------------------------------------------

const sentence = (namespace: string, rival: string): string =>
  `another installation decides in namespace "${namespace}" (Lease "${rival}"), and one namespace has one: install this one in another, or uninstall that one`;

/** The cluster tells seconds; of one second the name decides. */
const isOlder = ({ metadata: a }: KubernetesObject, { metadata: b }: KubernetesObject): boolean => {
  const [at, than] = [a.creationTimestamp ?? '', b.creationTimestamp ?? ''];
  return at === than ? a.name < b.name : at < than;
};
