/** What is said of a branch, as a pure function of what was seen of it. */
import { bytesText } from '../../model/bytes.ts';
import { reasonOf } from '../../model/conditions.ts';
import { OffshootError } from '../../model/errors.ts';
import type { ServerSeen, VolumeSeen } from '../branch-parts.ts';
import type { BranchPhase, BranchSeen, Failure, ServerExits } from '../contract.ts';
import type { RoomStop } from './room-watch.ts';

export type World = { readonly volume?: VolumeSeen | undefined; readonly server?: ServerSeen | undefined };

/** Where and why the walk stopped: something failed, or something has to happen first. */
export type Stop = {
  readonly phase: 'volume' | 'server' | 'access';
  /** CamelCase. */
  readonly reason: string;
  readonly message: string;
  readonly failure?: Failure;
  readonly waits?: string;
};

export const failed = (phase: Stop['phase'], failure: Failure, message: string): Stop => ({
  phase,
  reason: reasonOf(failure.code),
  message,
  failure,
});

/** @param waits the topic that is told when it may go on */
export const waitsFor = (phase: Stop['phase'], waits: string, reason: string, message: string): Stop => ({
  phase,
  reason,
  message,
  waits,
});

/** Whether a step has stopped, and brought nothing. */
export const isStop = (outcome: object): outcome is Stop => 'phase' in outcome;

/** @param topic that is told when the branch may run again */
export function outOfRoom(branch: string, stop: RoomStop, topic: string): Stop {
  const { why, bytes, limitBytes = 0, leftBytes } = stop;
  const numbers = { taken: bytesText(bytes), limit: bytesText(limitBytes), left: bytesText(leftBytes) };
  const code = why === 'limit' ? 'branch/over-limit' : 'branch/no-room';
  const { params, output, message } = new OffshootError(code, { name: branch, ...numbers });
  return { ...failed('server', { code, params, output }, message), waits: topic };
}

/** @param driver of the volume, for people */
export function branchSeen(
  driver: string,
  world: World,
  { exits, room }: { readonly exits: ServerExits; readonly room?: BranchSeen['room'] },
  stop?: Stop,
): BranchSeen {
  const { volume, server } = world;
  const isFalse = (phase: Stop['phase'], otherwise: Omit<BranchPhase, 'status'>): BranchPhase => {
    const { reason, message } = stop?.phase === phase ? stop : otherwise;
    return { status: 'False', reason, message };
  };
  const phases: Record<Stop['phase'], BranchPhase> = {
    volume:
      volume === undefined || stop?.phase === 'volume'
        ? isFalse('volume', { reason: 'VolumeMissing', message: 'it has no volume yet' })
        : { status: 'True', reason: 'VolumeReady', message: volumeMessage(driver, volume) },
    server:
      server === undefined || stop?.phase === 'server'
        ? isFalse('server', notRunning(exits))
        : { status: 'True', reason: 'ServerRunning', message: 'PostgreSQL accepts connections' },
    access:
      !server?.granted || stop?.phase === 'access'
        ? isFalse('access', { reason: 'PasswordMissing', message: 'no password has been set yet' })
        : { status: 'True', reason: 'PasswordSet', message: 'its role may connect' },
  };
  // A later one is not looked at before an earlier one is there.
  if (phases.volume.status === 'False') phases.server = waiting('VolumeReady');
  if (phases.server.status !== 'True')
    phases.access = waiting(phases.server.status === 'False' ? 'ServerReady' : 'VolumeReady');
  const ready = phases.access.status === 'True';
  return {
    ...(volume !== undefined && { record: volume.record }),
    ...phases,
    ...(ready && server !== undefined && { endpoint: { socket: server.socket } }),
    ...(stop?.waits !== undefined && { waits: stop.waits }),
    ...(stop?.failure !== undefined && { failure: stop.failure }),
    ...(room !== undefined && { room }),
    ...(ready && server?.passwordless !== undefined && { passwordless: server.passwordless }),
    exits,
  };
}

// --- internal ------------------------------------------------------------------------------------

const waiting = (condition: string): BranchPhase => ({
  status: 'Unknown',
  reason: 'Waiting',
  message: `waits for ${condition}`,
});

function volumeMessage(driver: string, { record }: VolumeSeen): string {
  const { emptied = [] } = record;
  if (emptied.length === 0) return `on ${driver}`;
  return `on ${driver}; without the rows of these unlogged tables, which were written to meanwhile: ${emptied.join(', ')}`;
}

function notRunning({ count, livedMs = 0 }: ServerExits): Omit<BranchPhase, 'status'> {
  if (count === 0) return { reason: 'ServerStopped', message: 'PostgreSQL does not run' };
  const times = count === 1 ? '' : `${count} times in a row, the last time `;
  return { reason: 'ServerEnded', message: `PostgreSQL ended by itself, ${times}after ${seconds(livedMs)}` };
}

const seconds = (ms: number): string =>
  ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
