/** From what a container is to be to the body of `POST /containers/create`. Pure. */
import type { ContainerWish } from './contract.ts';

export type CreateBody = Readonly<Record<string, unknown>>;

export const instanceLabel = (instance: string): string => `offshoot.instance=${instance}`;

/**
 * An engine puts image and wish together as Kubernetes does: an entry point of ours takes the image's arguments away, and
 * arguments alone go behind the image's entry point.
 */
export function createBody(instance: string, part: string, wish: ContainerWish): CreateBody {
  const { command, args, limits, capabilities, network } = wish;
  return {
    Image: wish.image,
    ...(command && { Entrypoint: command, Cmd: args ?? [] }),
    ...(command === undefined && args && { Cmd: args }),
    ...(wish.workingDir !== undefined && { WorkingDir: wish.workingDir }),
    ...(wish.user !== undefined && { User: wish.user }),
    // Who goes through a door has the name of that.
    ...(wish.hostname !== undefined && network?.startsWith('/') && { Hostname: wish.hostname }),
    Env: Object.entries(wish.env).map(([name, value]) => `${name}=${value}`),
    Labels: Object.fromEntries([instanceLabel(instance).split('='), ['offshoot.part', part]]),
    HostConfig: {
      NetworkMode: network === undefined ? 'host' : network.startsWith('/') ? `ns:${network}` : network,
      ...(wish.hostPID && { PidMode: 'host' }),
      Mounts: wish.mounts.map(({ source, target, readOnly }) => ({
        Type: 'bind',
        Source: source,
        Target: target,
        ReadOnly: readOnly,
        BindOptions: { Propagation: 'rprivate' },
      })),
      // We read what it says from there, and start it again ourselves.
      LogConfig: { Type: 'json-file', Config: { 'max-size': MAX_LOG } },
      RestartPolicy: { Name: 'no' },
      ...(limits?.memoryBytes !== undefined && {
        Memory: limits.memoryBytes,
        MemorySwap: limits.memoryBytes,
      }),
      ...(limits?.cpus !== undefined && { NanoCpus: Math.round(limits.cpus * 1e9) }),
      ...(wish.privileged && { Privileged: true }),
      ...(wish.readOnlyRoot && { ReadonlyRootfs: true }),
      ...(capabilities && { CapAdd: capabilities.add, CapDrop: capabilities.drop }),
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const MAX_LOG = '10m';
