/**
 * Rules of the kernel by which connections to a pod's ports come to the sidecar beside its program. They are made once, by
 * an init container that alone may do that, and are gone with the pod.
 *
 * Only what comes from outside is redirected (`prerouting`): connections that are made in the pod are not, so the sidecar
 * reaches the program at the pod's own address, and sees itself at none. What has no sidecar to pass are the probes of
 * the kubelet: each port has another number by which the program itself is reached.
 */
import { redirectTo, replaceTable, tcpPort } from './drivers/network/rules.ts';
import { libc } from './lib/libc.ts';
import { families, openNetlink } from './lib/netlink.ts';
import { OffshootError } from './model/errors.ts';

export type RedirectOptions = {
  /** Where the sidecar listens for which port of the program. */
  readonly ports: readonly { readonly listen: number; readonly program: number }[];
  /** At which port the program is reached without it. */
  readonly direct: readonly { readonly listen: number; readonly program: number }[];
};

/** In the network that this process is in; what an earlier call has made is replaced. @throws OffshootError proxy/no-rules */
export async function redirect({ ports, direct }: RedirectOptions): Promise<void> {
  const calls = await libc();
  const netlink = openNetlink(calls, families.netfilter);
  try {
    const rules = [
      ...ports.map(({ listen, program }) => [tcpPort(program), redirectTo(listen)]),
      ...direct.map(({ listen, program }) => [tcpPort(listen), redirectTo(program)]),
    ];
    replaceTable(netlink, TABLE, [{ name: 'in', hook: 'prerouting', type: 'nat', rules }], 'both');
  } catch (cause) {
    throw new OffshootError('proxy/no-rules', { why: (cause as NodeJS.ErrnoException).code }, { cause });
  } finally {
    netlink.close();
  }
}

// --- internal ------------------------------------------------------------------------------------

const TABLE = 'offshoot-sidecar';
