/**
 * TCP sockets of a network, as the kernel lists them: by sock_diag(7), in a fraction of a millisecond, or from /proc
 * (proc_net_tcp(5)), where each look costs ten milliseconds of CPU on a machine with much memory.
 */
import { readFile } from 'node:fs/promises';
import { flags, type Netlink, u32 } from './netlink.ts';

/** `host` is `a.b.c.d`, or an IPv6 address as 32 hexadecimal digits. */
export type TcpEnd = { readonly host: string; readonly port: number };

export type TcpState = 'listening' | 'connected';

/** @param diag of the network that is meant @throws an error with `code`: ENOENT on a kernel without it */
export function tcpEnds(diag: Netlink, state: TcpState): readonly TcpEnd[] {
  return FAMILIES.flatMap(family =>
    diag
      .ask({
        type: BY_FAMILY,
        flags: flags.dump,
        header: Buffer.concat([Buffer.from([family, TCP, 0, 0]), u32(1 << STATES[state]), ANY_SOCKET]),
      })
      .map(({ body }) => {
        const address = body.subarray(HOST_AT, HOST_AT + (family === AF_INET ? 4 : 16));
        return {
          host: family === AF_INET ? address.join('.') : address.toString('hex'),
          port: body.readUInt16BE(PORT_AT),
        };
      }),
  );
}

/** @param pid a process in the network that is meant; one that has ended has none */
export async function tcpEndsByProc(pid: number, state: TcpState): Promise<readonly TcpEnd[]> {
  const tables = ['tcp', 'tcp6'].map(name => readFile(`/proc/${pid}/net/${name}`, 'utf8').catch(() => ''));
  const lines = (await Promise.all(tables)).flatMap(table => table.split('\n').slice(1, -1));
  return lines.flatMap(line => {
    const [, local = '', , code = ''] = line.trim().split(/\s+/);
    const [host = '', port = ''] = local.split(':');
    return Number.parseInt(code, 16) === STATES[state]
      ? [{ host: hostOf(host), port: Number.parseInt(port, 16) }]
      : [];
  });
}

// --- internal -----------------------------------------------------------------------------------

// linux/sock_diag.h and inet_diag.h: struct inet_diag_req_v2, whose last part is struct inet_diag_sockid, and inet_diag_msg
const BY_FAMILY = 20;
const ANY_SOCKET = Buffer.alloc(48);
const [PORT_AT, HOST_AT] = [4, 8];
const [AF_INET, AF_INET6] = [2, 10];
const FAMILIES = [AF_INET, AF_INET6];
const TCP = 6;
/** tcp_states.h */
const STATES = { connected: 1, listening: 10 } as const;

/** The table has words of 32 bits in the order of the machine. */
function hostOf(words: string): string {
  const bytes = Buffer.from(words, 'hex').swap32();
  return bytes.length === 4 ? bytes.join('.') : bytes.toString('hex');
}
