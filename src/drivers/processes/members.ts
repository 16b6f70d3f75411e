/** Who belongs to a part. The kernel knows where there are control groups; elsewhere we know the leader and ask for its children. */
import { type Group, killMembers, membersOf, removeGroup } from '../../lib/cgroups.ts';
import { family, isAlive, isAtWork, killGroupOf, type ProcessId, signal } from '../../lib/process.ts';
import { until } from '../../lib/wait.ts';

export type Members = {
  pids(): Promise<readonly number[]>;
  /** To be called while the leader lives, before it is signalled: what it has started would be out of sight later. */
  remember(): void;
  /** To be called at the moment when the leader's end is seen. */
  leaderEnded(): void;
  /** Kills all; returns when none is left. */
  kill(): Promise<void>;
};

/** Of a control group: exact, whatever they do. `kill` removes the group, too. */
export const membersOfGroup = (group: Group): Members => ({
  pids: () => membersOf(group),
  remember() {},
  leaderEnded() {},
  async kill() {
    await killMembers(group);
    await removeGroup(group);
  },
});

/** Of who starts nothing. A process 1 takes all that is in its namespace along. */
export const membersOfLoner = (leader: ProcessId): Members => ({
  pids: async () => (isAtWork(leader) ? [leader.pid] : []),
  remember() {},
  leaderEnded() {},
  async kill() {
    signal(leader, 'SIGKILL', 'group');
    await until(() => (isAtWork(leader) ? undefined : true), {
      what: `process ${leader.pid} ends`,
      deadlineMs: 10_000,
      intervalMs: 1,
    });
  },
});

/**
 * Of a leader: its group, and its descendants as long as nobody between them has ended. Who has left the group and lost
 * its parent is not found again.
 */
export function membersOfLeader(leader: ProcessId): Members {
  const seen = new Map<number, ProcessId>();
  const remember = () => {
    for (const member of family(leader)) seen.set(member.pid, member);
  };
  const living = () => [...seen.values()].filter(isAlive);
  return {
    async pids() {
      remember();
      return living().map(({ pid }) => pid);
    },
    remember,
    leaderEnded: () => void killGroupOf(leader),
    async kill() {
      remember();
      await until(
        () => {
          if (signal(leader, 'SIGKILL', 'group')) seen.set(leader.pid, leader);
          const left = living();
          for (const member of left) signal(member, 'SIGKILL');
          return left.length === 0 ? true : undefined;
        },
        { what: `process ${leader.pid} and what it has started end`, deadlineMs: 10_000, intervalMs: 2 },
      );
    },
  };
}
