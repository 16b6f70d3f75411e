/** Where programs listen: one that does at a loopback address alone would be reached by nobody in a cluster. */
import type { TcpEnd } from '../../lib/tcp-ends.ts';

export type LocalOnly = {
  /** Ports at 127.0.0.1 alone. We can lead others there. */
  readonly v4: readonly number[];
  /** Ports at ::1 alone. */
  readonly v6: readonly number[];
};

/** @param listening what listens in the pod @param ports those of interest */
export function localOnly(listening: readonly TcpEnd[], ports: readonly number[]): LocalOnly {
  const at = (port: number) => listening.filter(one => one.port === port).map(({ host }) => host);
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

const LOOPBACK_V4 = '127.0.0.1';
const LOOPBACK_V6 = '00000000000000000000000000000001';
/** The last is the first, as a socket for both kinds has it. */
const LOOPBACK: readonly string[] = [LOOPBACK_V4, LOOPBACK_V6, '00000000000000000000ffff7f000001'];
