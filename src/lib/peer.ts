/** Who is at the other end of a connection. */
import type { Socket } from 'node:net';

/**
 * Whether what `socket` carries never leaves this machine: its peer is on loopback, or has our own address, which is
 * how the system connects a program to an address of its own machine.
 */
export function isOnThisMachine({
  remoteAddress,
  localAddress,
}: Pick<Socket, 'remoteAddress' | 'localAddress'>) {
  if (remoteAddress === undefined) return false;
  return isLoopback(remoteAddress) || remoteAddress === localAddress;
}

/** An address of loopback, or a name of it. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^::ffff:(?=\d+\.)/i, ''); // RFC 4291 §2.5.5.2
  return /^127(\.\d{1,3}){3}$/.test(address) || address === '::1' || /^(.+\.)?localhost$/i.test(address);
}
