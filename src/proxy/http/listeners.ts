/** One server per listener of the route table: opened and closed as tables come and go. */
import { OffshootError } from '../../model/errors.ts';
import type { Address, DestinationKey, Listener } from '../../model/route.ts';
import type { Limits } from './limits.ts';
import { type Handler, type HttpServer, openServer } from './server.ts';
import { hostPort } from './upstreams.ts';

/** A listener that is open, or why it is not. */
export type ListenerState = Address & { readonly error?: OffshootError };

export type Listeners = {
  /** Opens what is new, also what could not be opened before; what is gone stops listening and drains. */
  apply(wanted: readonly Listener[]): void;
  close(graceMs: number): Promise<void>;
};

const RETRY_MS = 1_000;

/**
 * @param handlerFor a listener's handler; `destination` says where it leads at the time of the call
 * @param onState called when a listener is open, and once for each new reason why it is not
 */
export function createListeners(o: {
  limits: Limits;
  handlerFor: (destination: () => DestinationKey) => Handler;
  onState: (state: ListenerState) => void;
}): Listeners {
  const slots = new Map<string, Slot>();
  /** Also of slots that are gone again. */
  const openings = new Map<Slot, Promise<void>>();
  /** Also those that drain. */
  const servers = new Set<HttpServer>();
  let retry: NodeJS.Timeout | undefined;

  async function open(slot: Slot): Promise<void> {
    const { host, port } = slot;
    const opened = await openServer(slot, {
      what: slot.destination,
      limits: o.limits,
      handler: o.handlerFor(() => slot.destination),
    }).catch((error: OffshootError) => error);
    if (opened instanceof OffshootError) {
      if (slot.retired) return;
      retry ??= setTimeout(openMissing, RETRY_MS);
      if (slot.failure !== opened.message) o.onState({ host, port, error: opened });
      slot.failure = opened.message;
      return;
    }
    servers.add(opened);
    if (slot.retired) return void retire(opened, 0);
    slot.server = opened;
    slot.failure = undefined;
    o.onState({ host, port });
  }

  function openMissing(): void {
    clearTimeout(retry);
    retry = undefined;
    for (const slot of slots.values()) {
      if (slot.server !== undefined || openings.has(slot)) continue;
      openings.set(
        slot,
        open(slot).finally(() => openings.delete(slot)),
      );
    }
  }

  async function retire(server: HttpServer, graceMs: number): Promise<void> {
    await server.close(graceMs);
    servers.delete(server);
  }

  return {
    apply(wanted) {
      const byAddress = new Map(wanted.map(listener => [hostPort(listener), listener]));
      for (const [key, slot] of slots) {
        if (byAddress.has(key)) continue;
        slots.delete(key);
        slot.retired = true;
        if (slot.server !== undefined) void retire(slot.server, o.limits.drainMs);
      }
      for (const [key, listener] of byAddress) {
        const slot = slots.get(key);
        if (slot === undefined) slots.set(key, newSlot(listener));
        else slot.destination = listener.destination;
      }
      openMissing();
    },
    async close(graceMs) {
      clearTimeout(retry);
      for (const slot of slots.values()) slot.retired = true;
      await Promise.all(openings.values());
      await Promise.all([...servers].map(server => retire(server, graceMs)));
    },
  };
}

// --- internal ---

type Slot = Address & {
  destination: DestinationKey;
  server: HttpServer | undefined;
  /** The sentence that was reported last. */
  failure: string | undefined;
  /** No longer wanted. */
  retired: boolean;
};

const newSlot = ({ host, port, destination }: Listener): Slot => ({
  ...{ host, port, destination },
  ...{ server: undefined, failure: undefined, retired: false },
});
