/**
 * Composition of an outpost (lib/outpost.ts): a process that an ordinary user starts in a network of his own. It knows
 * nothing of pods and decides nothing. Whoever may connect to its unix socket, which is the user himself, is served.
 */
import { closeSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { parseArgs } from 'node:util';
import { readJsonLines, writeJsonLine } from './lib/json-lines.ts';
import { type Libc, libc } from './lib/libc.ts';
import { netNamespaceOf, newNetNamespace } from './lib/net-namespace.ts';
import { families } from './lib/netlink.ts';
import { type Asked, MAX_LINE, type Told, type Wish } from './lib/outpost.ts';
import { nameSourceLines } from './lib/source-lines.ts';

/** What was made for somebody, until he has it. */
type Made = { readonly fds: readonly number[]; close(): void };

/** @param path of its unix socket */
export async function runOutpost(path: string): Promise<void> {
  const calls = await libc();
  process.umask(0o177);
  rmSync(path, { force: true });
  const server = createServer(client => serve(client, calls));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.on('error', () => {}); // e.g. EMFILE: that client is lost, the others are not
}

// --- internal -----------------------------------------------------------------------------------

function serve(client: Socket, calls: Libc): void {
  const closers = new Map<number, () => void>();
  const tell = (told: Told) => writeJsonLine(client, told);
  const begin = (id: number, wish: Wish): void => {
    const failed = ({ code = 'EIO', message }: NodeJS.ErrnoException) => tell({ id, code, message });
    try {
      if (wish.kind === 'connection') {
        connectFor(id, wish, failed);
        return;
      }
      const { fds, close } = make(wish, calls);
      closers.set(id, close);
      tell({ id, fds });
    } catch (error) {
      failed(error as NodeJS.ErrnoException);
    }
  };
  const connectFor = (
    id: number,
    { host, port }: Wish & { kind: 'connection' },
    failed: (error: Error) => void,
  ) => {
    const socket = connect({ host, port, allowHalfOpen: true }).pause(); // what it says is not for us
    closers.set(id, () => socket.destroy());
    socket.once('connect', () => tell({ id, fds: [fdOf(socket)] }));
    socket.on('error', failed);
  };
  client.on('error', () => {}); // "close" follows
  client.on('close', () => {
    for (const close of closers.values()) close();
  });
  tell({ pid: process.pid });
  readJsonLines(client, {
    maxLength: MAX_LINE,
    onValue(value) {
      const asked = value as Asked;
      if ('wish' in asked) return begin(asked.id, asked.wish);
      closers.get(asked.taken)?.();
      closers.delete(asked.taken);
    },
    onBroken: () => client.destroy(),
  });
}

/** @throws the system's error */
function make(wish: Exclude<Wish, { kind: 'connection' }>, calls: Libc): Made {
  const sockets = () => [families.route, families.netfilter, families.diag].map(calls.netlink);
  if (wish.kind === 'netlink') return made(sockets());
  if (wish.kind !== 'network') return made([calls.bound(wish.kind, wish.host, wish.port)]);
  const network = wish.of === undefined ? newNetNamespace(calls) : netNamespaceOf(calls, wish.of);
  try {
    const inside = network.within(() => {
      if (wish.of === undefined) openLowPorts();
      return sockets();
    });
    return made([network.fd, ...inside]);
  } catch (error) {
    network.close();
    throw error;
  }
}

const made = (fds: readonly number[]): Made => ({
  fds,
  close() {
    for (const fd of fds) closeSync(fd);
  },
});

/** Programs in pods are no root, and listen at port 80 all the same. Where /proc/sys is read-only they cannot. */
function openLowPorts(): void {
  try {
    writeFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', '0');
  } catch {
    // as everywhere else then
  }
}

/** Node has it, but does not say so in its documentation; there is no other way to it. */
const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

if (import.meta.main) void run();

/** No `await` at the top: a bundle is no module. */
async function run(): Promise<void> {
  nameSourceLines();
  const { values } = parseArgs({ options: { socket: { type: 'string' } } });
  process.on('SIGTERM', () => process.exit());
  await runOutpost(values.socket!);
}
