/** How programs of one installation know each other in a cluster: its authority, and identities for pods that prove who they are. */
import { type ClusterAuthority, openClusterAuthority } from '../kubernetes/authority.ts';
import type { ClusterClient } from '../kubernetes/client.ts';
import { type PodIdentityOptions, podIdentity } from '../kubernetes/pod-identity.ts';
import type { IdentitySource } from '../lib/identity.ts';
import type { Log } from '../lib/log.ts';
import type { DoorOptions } from '../proxy/stream/door.ts';
import { answerExchanges } from '../proxy/stream/exchange.ts';

/** What a door needs of it. */
export type House = Pick<DoorOptions, 'certificate' | 'authority' | 'exchange'>;

export type ClusterHouse = House & {
  readonly kept: ClusterAuthority;
  /** Who the controller itself is, to those that it asks. */
  readonly own: IdentitySource;
  close(): Promise<void>;
};

export type ClusterHouseOptions = PodIdentityOptions & {
  readonly client: ClusterClient;
  /** Of the Secret and the ConfigMap, see kubernetes/authority.ts. */
  readonly name: string;
  readonly secretNamespace?: string | undefined;
  /** Under which pods find the controller, e.g. `offshoot-controller.offshoot.svc`. */
  readonly serverNames: readonly string[];
  readonly log: Log;
};

/** @throws OffshootError kubernetes/… when the authority can be neither read nor made */
export async function openClusterHouse(o: ClusterHouseOptions): Promise<ClusterHouse> {
  const kept = await openClusterAuthority(o);
  const { log } = o;
  return {
    kept,
    certificate: {
      current() {
        const { certificate: cert, key } = kept.server();
        return { cert, key };
      },
      onChange: kept.onChange,
    },
    authority: kept.certificates,
    exchange: answerExchanges({
      identify: (token, signal) => podIdentity(o, token, { signal, deadlineMs: REVIEW_MS }),
      certify: (who, key) => ({ name: who, authorities: kept.certificates(), ...kept.certify(who, key) }),
      log,
    }),
    own: {
      read() {
        const { certificate: cert, key } = kept.identity('controller');
        return { cert, key, ca: kept.certificates() };
      },
      ready: Promise.resolve(),
      onRenewed: kept.onChange,
      close() {},
    },
    close: () => kept.close(),
  };
}

// --- internal ------------------------------------------------------------------------------------

/** For a token's review, the pod and its owner; one who asks waits a little longer. */
const REVIEW_MS = 10_000;
