/**
 * A way for Docker's containers into networks of pods. Docker puts a container into no network that is named by its path, only into
 * that of another container. So we start one whose only program steps into a network of ours and stays there: who is put into its
 * network is in ours, and needs it no more once it has been started.
 */
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { arch } from 'node:os';
import { until } from '../../lib/wait.ts';
import type { EngineApi } from './api.ts';
import { instanceLabel } from './create-body.ts';
import { DOOR_NETWORK, DOOR_PROGRAM, doorImage, doorMachines } from './door-image.ts';

export type Door = {
  /** As a container names it: a mode of networks. Who is to go through can be made already. */
  readonly network: string;
  /** From then on he can be started. @throws EngineRefusal, DeadlineError; the system's error */
  readonly open: Promise<void>;
  /** Who was to go through has been started, or will not be. */
  close(): Promise<void>;
};

/** Whether the engine can do this, found out by doing it. @param instance see EngineOptions */
export async function hasDoors(api: EngineApi, instance: string): Promise<boolean> {
  if (!doorMachines.includes(arch())) return false;
  try {
    const door = await openDoor(api, instance, OWN_NETWORK, undefined);
    return await door.open
      .then(
        () => true,
        () => false, // one of an ordinary user, or that maps users
      )
      .finally(door.close);
  } catch {
    return false;
  }
}

/**
 * @param network path of a network namespace
 * @param hostname of those who go through: they have that of the door
 * @throws EngineRefusal; the system's error
 */
export async function openDoor(
  api: EngineApi,
  instance: string,
  network: string,
  hostname: string | undefined,
): Promise<Door> {
  if (!(await api.hasImage(IMAGE))) await api.importImage(IMAGE, doorImage());
  const [label, value] = instanceLabel(instance).split('=') as [string, string];
  const id = await api.create(`offshoot-door-${randomUUID().slice(0, 8)}`, {
    Image: IMAGE,
    Entrypoint: [DOOR_PROGRAM],
    Labels: { [label]: value },
    ...(hostname !== undefined && { Hostname: hostname }),
    HostConfig: {
      NetworkMode: 'none',
      // setns(2)
      CapAdd: ['SYS_ADMIN'],
      CapDrop: ['ALL'],
      SecurityOpt: ['seccomp=unconfined', 'apparmor=unconfined'],
      Mounts: [{ Type: 'bind', Source: network, Target: DOOR_NETWORK, ReadOnly: true }],
      LogConfig: { Type: 'none' },
      RestartPolicy: { Name: 'no' },
    },
  });
  const open = enter();
  open.catch(() => {}); // it is waited for later
  return { network: `container:${id}`, open, close: () => open.catch(() => {}).then(() => api.remove(id)) };

  async function enter(): Promise<void> {
    await api.start(id);
    const pid = (await api.inspect(id))?.State.Pid ?? 0;
    const { ino } = statSync(network);
    const look = () => (statSync(`/proc/${pid}/ns/net`).ino === ino ? true : undefined);
    await until(look, {
      what: 'a container enters the network of its pod',
      deadlineMs: ENTER_MS,
      intervalMs: 1,
    });
  }
}

// --- internal -----------------------------------------------------------------------------------

const IMAGE = 'offshoot.local/door:1';
const OWN_NETWORK = `/proc/${process.pid}/ns/net`;
const ENTER_MS = 10_000;
