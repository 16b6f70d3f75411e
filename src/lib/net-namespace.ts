/**
 * Network namespaces (network_namespaces(7)) without mounts and without helpers: a thread may step into one for as long
 * as a call takes, and what it opens or starts there stays there. A namespace is gone when nobody holds or lives in it.
 */
import { closeSync, fstatSync, openSync } from 'node:fs';
import type { Libc } from './libc.ts';

export type NetNamespace = {
  /** Different for all that exist at one time. */
  readonly id: number;
  /** Its descriptor, good until `close`. */
  readonly fd: number;
  /** Does synchronous work inside: sockets that it opens and programs that it starts belong there. */
  within<T>(work: () => T): T;
  /** Holds it no longer. */
  close(): void;
};

/** Makes an empty one, in which not even the loopback interface is up. Takes less than a millisecond. @throws EPERM etc. */
export function newNetNamespace(calls: Libc): NetNamespace {
  const own = openSync(OWN, 'r');
  try {
    calls.newNetwork();
    try {
      return holding(calls, openSync(OWN, 'r'));
    } finally {
      goBack(calls, own);
    }
  } finally {
    closeSync(own);
  }
}

/** That of a process. @throws ENOENT when it has ended */
export const netNamespaceOf = (calls: Libc, pid: number): NetNamespace =>
  holding(calls, openSync(`/proc/${pid}/ns/net`, 'r'));

/** That of this thread. */
export const ownNetNamespace = (calls: Libc): NetNamespace => holding(calls, openSync(OWN, 'r'));

// --- internal -----------------------------------------------------------------------------------

const OWN = '/proc/thread-self/ns/net';

function holding(calls: Libc, fd: number): NetNamespace {
  return {
    id: fstatSync(fd).ino,
    fd,
    within(work) {
      const own = openSync(OWN, 'r');
      try {
        calls.enterNetwork(fd);
        try {
          return work();
        } finally {
          goBack(calls, own);
        }
      } finally {
        closeSync(own);
      }
    },
    close: () => closeSync(fd),
  };
}

/** Whatever came after would happen in the wrong network. */
function goBack(calls: Libc, own: number): void {
  try {
    calls.enterNetwork(own);
  } catch {
    process.abort();
  }
}
