/** Who is at the other end of a connection. */
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';

/**
 * Whether what `socket` carries never leaves this machine: one of its ends is on loopback; or its peer has our own
 * address, which is how the system connects a program to an address of its own machine; or it is on a bridge of ours,
 * which lets nobody else claim its addresses.
 */
export function isOnThisMachine({
  remoteAddress,
  localAddress,
}: Pick<Socket, 'remoteAddress' | 'localAddress'>) {
  if (remoteAddress === undefined) return false;
  if (isLoopback(remoteAddress) || remoteAddress === localAddress) return true;
  return isLoopback(localAddress ?? '') || isOnBridge(remoteAddress);
}

/** An address of loopback, or a name of it. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^::ffff:(?=\d+\.)/i, ''); // RFC 4291 §2.5.5.2
  return /^127(\.\d{1,3}){3}$/.test(address) || address === '::1' || /^(.+\.)?localhost$/i.test(address);
}

// --- internal -----------------------------------------------------------------------------------

/** See drivers/network/bridge.ts. */
function isOnBridge(address: string): boolean {
  const bridges = Object.entries(networkInterfaces()).filter(([name]) => name.startsWith('offshoot-'));
  return bridges.some(([, own = []]) =>
    own.some(({ address: host, family, netmask }) => {
      if (family !== 'IPv4') return false;
      const [mask, at, peer] = [netmask, host, address.replace(/^::ffff:/i, '')].map(bytesOf);
      return peer!.length === 4 && mask!.every((bits, i) => (bits & at![i]!) === (bits & peer![i]!));
    }),
  );
}

const bytesOf = (ip: string): readonly number[] => ip.split('.').map(Number);
