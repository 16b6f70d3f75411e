/**
 * Where programs listen, from the kernel's tables (proc_net_tcp(5)): one that listens at a loopback address alone would
 * be reached by nobody in a cluster.
 */
import { readFile } from 'node:fs/promises';

export type LocalOnly = {
  /** Ports at 127.0.0.1 alone. We can lead others there. */
  readonly v4: readonly number[];
  /** Ports at ::1 alone. */
  readonly v6: readonly number[];
};

/** @param pid a process in the network that is meant @param ports those of interest */
export async function localOnly(pid: number, ports: readonly number[]): Promise<LocalOnly> {
  const [v4, v6] = await Promise.all([listening(pid, 'tcp'), listening(pid, 'tcp6')]);
  const at = (port: number) => [...v4, ...v6].filter(one => one.port === port).map(({ host }) => host);
  const only = (port: number, loopback: string) => {
    const hosts = at(port);
    return hosts.length > 0 && hosts.every(host => LOOPBACK.includes(host)) && hosts.includes(loopback);
  };
  const first = ports.filter(port => only(port, LOOPBACK_V4));
  return { v4: first, v6: ports.filter(port => !first.includes(port) && only(port, LOOPBACK_V6)) };
}

/** For people; undefined when there is nothing to say. */
export function localOnlyWarning({ v4, v6 }: LocalOnly): string | undefined {
  const said = [
    ...v4.map(port => `port ${port} is listened at on 127.0.0.1 only; in a cluster nobody would reach it`),
    ...v6.map(port => `port ${port} is listened at on ::1 only, where nobody reaches it`),
  ];
  return said.length === 0 ? undefined : said.join('; ');
}

// --- internal -----------------------------------------------------------------------------------

/** tcp_states.h */
const LISTEN = '0A';
/** As the tables have them: words of 32 bits in the order of the machine. */
const LOOPBACK_V4 = '0100007F';
const LOOPBACK_V6 = '00000000000000000000000001000000';
const LOOPBACK: readonly string[] = [LOOPBACK_V4, LOOPBACK_V6, '0000000000000000FFFF00000100007F'];

async function listening(pid: number, table: 'tcp' | 'tcp6'): Promise<{ host: string; port: number }[]> {
  const text = await readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '');
  return text.split('\n').flatMap(line => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    const [host = '', port = ''] = local.split(':');
    return state === LISTEN ? [{ host, port: Number.parseInt(port, 16) }] : [];
  });
}
