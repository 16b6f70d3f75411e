/**
 * System calls that Node does not offer, made through the C library. Linux on x64 and arm64 only, where numbers and
 * layouts are the same; loaded when first asked for, because that takes 15 ms and 3 MB.
 */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';

export type Libc = {
  /** ioctl(2), for requests that take microseconds. @throws an error like those of node:fs, with `code` */
  ioctl(fd: number, request: number, arg: Buffer): void;
  /** ioctl(2) in a thread. `arg` must not be touched meanwhile. */
  ioctlAside(fd: number, request: number, arg: Buffer): Promise<void>;
  /** fallocate(2) without a change of the file's size, in a thread: gives `bytes` from `offset` on room of their own. */
  allocate(fd: number, offset: number, bytes: number): Promise<void>;
  /** socket(2) for netlink(7), of the network that this thread is in. @returns its descriptor */
  netlink(protocol: number): number;
  /** send(2) */
  send(fd: number, message: Buffer): void;
  /** recv(2) of what is there already. @returns the number of bytes; undefined when nothing is there */
  receive(fd: number, into: Buffer): number | undefined;
  /** setns(2): this thread alone goes into another network namespace. */
  enterNetwork(fd: number): void;
  /** unshare(2): this thread alone goes into a new network namespace. */
  newNetwork(): void;
  /** setns(2): what this thread starts is born in another process namespace. Meanwhile it can start no threads. */
  startProcessesIn(fd: number): void;
  /** unshare(2): what this thread starts is born in a new process namespace. Meanwhile it can start no threads. */
  startProcessesApart(): void;
  /** socket(2) and bind(2), IPv4. @param port 0: any. @returns the descriptor of a socket that does not listen yet */
  bound(kind: 'stream' | 'datagrams', host: string, port: number): number;
  /** A copy of another process's descriptor (pidfd_getfd(2)); the other needs to be ours, or of a user namespace of ours. */
  takeFrom(pid: number, fd: number): number;
  /** Where a connection of IPv4 was to go before a rule of the kernel has sent it to us (linux/netfilter_ipv4.h). */
  originalDestination(fd: number): { readonly host: string; readonly port: number };
};

/** Direction of an ioctl's argument, as the kernel sees it (asm-generic/ioctl.h). */
export const read = 2;
export const write = 1;

/** The number of an ioctl: `_IOC(direction, type, number, size)`. @param bytes size of its argument */
export const ioctlNumber = (direction: number, type: number, number: number, bytes: number): number =>
  ((direction << 30) | (bytes << 16) | (type << 8) | number) >>> 0;

let loaded: Promise<Libc> | undefined;

/** @throws with the reason why there are no such calls here */
export function libc(): Promise<Libc> {
  loaded ??= load();
  return loaded;
}

// --- internal ------------------------------------------------------------------------------------

const FALLOC_FL_KEEP_SIZE = 1;
// bits/socket.h, linux/sched.h
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const CLONE_NEWNET = 0x40000000;
const CLONE_NEWPID = 0x20000000;
const AF_INET = 2;
const KINDS = { stream: 1, datagrams: 2 } as const;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SOL_IP = 0;
const SO_ORIGINAL_DST = 80;
// asm-generic/unistd.h and arch/x86: numbers that all architectures have in common
const PIDFD_OPEN = 434;
const PIDFD_GETFD = 438;

async function load(): Promise<Libc> {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
    throw new Error(`system calls are made on Linux for x64 and arm64 only, not for ${process.arch}`);
  const { default: koffi } = await import('koffi');
  // Its defaults are made for much larger arguments than ours.
  const pool = { async_stack_size: 65_536, async_heap_size: 65_536, resident_async_pools: 1 };
  koffi.config({ sync_stack_size: 65_536, sync_heap_size: 65_536, ...pool });
  const library = koffi.load(null);
  const ioctl = library.func('int ioctl(int fd, ulong request, void *arg)');
  const fallocate = library.func('int fallocate64(int fd, int mode, int64_t offset, int64_t bytes)');
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const send = library.func('long send(int fd, void *message, ulong bytes, int flags)');
  const recv = library.func('long recv(int fd, void *into, ulong bytes, int flags)');
  const setns = library.func('int setns(int fd, int kind)');
  const unshare = library.func('int unshare(int flags)');

  const bind = library.func('int bind(int fd, void *address, uint bytes)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int name, void *value, uint bytes)');
  const getsockopt = library.func('int getsockopt(int fd, int level, int name, void *value, void *bytes)');
  const syscall3 = library.func('long syscall(long number, int a, int b, uint c)');

  function now(syscall: string, call: Call, args: readonly unknown[]): number {
    for (;;) {
      const result = call(...args);
      if (result >= 0) return result; // some requests answer 1
      const errno = koffi.errno();
      if (errno !== constants.errno.EINTR) throw systemError(syscall, errno);
    }
  }

  async function aside(syscall: string, call: Call & Aside, args: readonly unknown[]): Promise<void> {
    const result = await new Promise<number>((resolve, reject) =>
      call.async(...args, (error: unknown, value: number) => (error ? reject(error) : resolve(value))),
    );
    // The thread keeps its errno for itself: what failed there fails here again, and says why.
    if (result < 0) now(syscall, call, args);
  }

  return {
    ioctl: (fd, request, arg) => void now('ioctl', ioctl, [fd, request, arg]),
    ioctlAside: (fd, request, arg) => aside('ioctl', ioctl, [fd, request, arg]),
    allocate: (fd, offset, bytes) => aside('fallocate', fallocate, [fd, FALLOC_FL_KEEP_SIZE, offset, bytes]),
    netlink: protocol => now('socket', socket, [AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol]),
    send: (fd, message) => void now('send', send, [fd, message, message.length, 0]),
    receive(fd, into) {
      const length: number = recv(fd, into, into.length, MSG_DONTWAIT);
      if (length >= 0) return length;
      const errno = koffi.errno();
      if (errno === constants.errno.EAGAIN) return undefined;
      throw systemError('recv', errno);
    },
    enterNetwork: fd => void now('setns', setns, [fd, CLONE_NEWNET]),
    newNetwork: () => void now('unshare', unshare, [CLONE_NEWNET]),
    startProcessesIn: fd => void now('setns', setns, [fd, CLONE_NEWPID]),
    startProcessesApart: () => void now('unshare', unshare, [CLONE_NEWPID]),
    bound(kind, host, port) {
      const type = KINDS[kind] | SOCK_CLOEXEC | SOCK_NONBLOCK;
      const fd = now('socket', socket, [AF_INET, type, 0]);
      try {
        const on = Buffer.from(new Uint32Array([1]).buffer);
        now('setsockopt', setsockopt, [fd, SOL_SOCKET, SO_REUSEADDR, on, on.length]);
        const address = Buffer.alloc(16); // struct sockaddr_in
        address.writeUInt16LE(AF_INET, 0);
        address.writeUInt16BE(port, 2);
        Buffer.from(host.split('.').map(Number)).copy(address, 4);
        now('bind', bind, [fd, address, address.length]);
        return fd;
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    },
    takeFrom(pid, fd) {
      const process = now('pidfd_open', syscall3, [PIDFD_OPEN, pid, 0, 0]);
      try {
        return now('pidfd_getfd', syscall3, [PIDFD_GETFD, process, fd, 0]);
      } finally {
        closeSync(process);
      }
    },
    originalDestination(fd) {
      const address = Buffer.alloc(16);
      const length = Buffer.from(new Uint32Array([address.length]).buffer);
      now('getsockopt', getsockopt, [fd, SOL_IP, SO_ORIGINAL_DST, address, length]);
      return { host: address.subarray(4, 8).join('.'), port: address.readUInt16BE(2) };
    },
  };
}

type Call = (...args: readonly unknown[]) => number;
type Aside = { async(...args: readonly unknown[]): void };

const codes = new Map(Object.entries(constants.errno).map(([code, errno]) => [errno, code]));

/** An error like those of node:fs. */
export function systemError(syscall: string, errno: number): NodeJS.ErrnoException {
  const code = codes.get(errno) ?? `errno ${errno}`;
  return Object.assign(new Error(`${code}: ${syscall}`), { code, errno: -errno, syscall });
}
