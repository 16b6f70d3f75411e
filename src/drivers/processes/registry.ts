/**
 * All that we start, and the only way to start what may outlive us: each part is on record before it runs, in a control
 * group of its own where the machine allows, and is ended by what is known of it. Nothing is ever looked for in the
 * table of the machine's processes, and what processes say of themselves, in their environment, decides nothing.
 */

import { dirname, join } from 'node:path';
import {
  enter,
  findGroups,
  type Group,
  groupsOf,
  isPopulated,
  killMembers,
  memoryKills,
  removeAbandoned,
  removeGroup,
} from '../../lib/cgroups.ts';
import { ExecError, type ExecResult, resultOf } from '../../lib/exec.ts';
import { findShells, HeldVariableError, hold } from '../../lib/held.ts';
import type { Log } from '../../lib/log.ts';
import type { Child } from '../../lib/posix-spawn.ts';
import { identify, isAlive, signal } from '../../lib/process.ts';
import { turn } from '../../lib/turns.ts';
import { DeadlineError, until } from '../../lib/wait.ts';
import { partKey } from '../labels.ts';
import { capabilitiesOf } from './capabilities.ts';
import type {
  EndOptions,
  Exit,
  HeldPart,
  Notes,
  Processes,
  Program,
  Running,
  RunOptions,
  RunProgram,
  Stage,
} from './contract.ts';
import { watchEnds } from './ends.ts';
import { type Members, membersOfGroup, membersOfLeader, membersOfLoner } from './members.ts';
import { keptRecord, readRecords, removeRecord, writeRecord } from './record.ts';

export type ProcessesOptions = {
  /** The data directory; ours is `processes` in it. At most one registry may be open on it. */
  readonly home: string;
  /** Differs between data directories, is the same for all daemons on one. */
  readonly instance: string;
  /** Where to look for shells, as in `PATH`. */
  readonly path: string;
  /** Directory of a control group that we may use; default: see `findGroups`. */
  readonly cgroup?: string | undefined;
  readonly log: Log;
};

/** Opens the registry, and takes over what an earlier daemon has left running. */
export async function openProcesses(options: ProcessesOptions): Promise<Processes> {
  const { home, instance, path, cgroup, log } = options;
  const folder = join(home, 'processes');
  const uid = process.getuid?.() ?? 0;
  const [shells, found] = await Promise.all([findShells(path), findGroups(groupName(instance), cgroup, uid)]);
  const groups = 'why' in found ? undefined : found;
  const parts = new Map<string, Part>();
  const ends = watchEnds();
  const homes = await takeOver();

  const abandoned = Promise.all((groups?.homes ?? []).map(dir => removeAbandoned(dirname(dir), GROUPS)));
  void abandoned.then(
    names => names.some(n => n.length > 0) && log.info({ names }, 'removed control groups of killed daemons'),
    err => log.warn({ err }, 'control groups of killed daemons are left'),
  );

  return {
    shells,
    grouped: groups !== undefined,
    keeps: groups?.keeps ?? [],
    hold: holdPart,
    run,
    runIn,
    succeed,
    end,
    kill,

    async start(part, program) {
      return (await holdPart(part, program)).go();
    },

    find(part) {
      const known = parts.get(part);
      return known?.recorded && isAlive(known.leader) ? known : undefined;
    },

    list: name => [...parts.keys()].filter(part => part === name || part.startsWith(`${name}/`)),

    async members(part) {
      return (await parts.get(part)?.members.pids()) ?? [];
    },

    async note(part, notes) {
      const known = parts.get(part);
      if (known === undefined) return;
      known.notes = { ...known.notes, ...notes };
      // What is being killed is about to have no record.
      if (!known.recorded || known.dying !== undefined) return;
      known.keep ??= keptRecord(folder, part, () => recordOf(part, known));
      known.kept = known.keep();
      await known.kept;
    },

    notes: part => parts.get(part)?.notes ?? {},
    capabilities: () => capabilitiesOf(found),
    leave: ends.close,

    async close() {
      await Promise.all([...parts.keys()].map(kill));
      ends.close();
      for (const dir of homes) await removeGroup({ dirs: [dir] });
    },
  };

  async function holdPart(part: string, program: Program): Promise<HeldPart & { readonly child: Child }> {
    await kill(part);
    await turn(); // a start keeps everybody waiting for some milliseconds
    const held = await hold(program, shells);
    const { id: leader, child } = held;
    const { promise: ended, resolve } = Promise.withResolvers<Exit>();
    const known: Part = {
      leader,
      ended,
      uid: program.uid ?? uid,
      members: program.alone ? membersOfLoner(leader) : membersOfLeader(leader),
      notes: {},
      recorded: false,
      ...(program.alone && { alone: true }),
    };
    parts.set(part, known);
    child.once('exit', (code: number | null, signalName: NodeJS.Signals | null) => {
      known.members.leaderEnded();
      const how = { ...(code !== null && { code }), ...(signalName !== null && { signal: signalName }) };
      void exitOf(known.group, how).then(resolve);
    });
    await giveGroup(part, known, program); // while it does what it has to do before it waits
    return {
      leader,
      child,
      go(more, notes) {
        known.notes = notes ?? {};
        writeRecord(folder, recordOf(part, known));
        known.recorded = true;
        held.go(more);
        return known;
      },
      async drop() {
        held.drop();
        await kill(part);
      },
    };
  }

  /** Without a group it can be started still, which is better than not at all. */
  async function giveGroup(part: string, known: Part, { limits, alone }: Program): Promise<void> {
    if (groups === undefined || alone) return;
    const group = await groups.make(partKey(part), limits).catch(without(part));
    if (group === undefined) return;
    known.group = group;
    known.members = membersOfGroup(group);
    await enter(group, known.leader.pid).catch(async err => {
      if ((err as NodeJS.ErrnoException).code === 'ESRCH') return; // it has ended already
      without(part)(err);
      if (await isPopulated(group)) return; // its limits are missing, all else is there
      delete known.group;
      known.members = membersOfLeader(known.leader);
      await removeGroup(group).catch(() => {});
    });
  }

  function without(part: string): (err: unknown) => undefined {
    return err => void log.warn({ part, err }, 'a process starts without a control group');
  }

  async function run(part: string, program: RunProgram, options: RunOptions = {}): Promise<ExecResult> {
    options.signal?.throwIfAborted();
    const held = await holdPart(part, { ...program, stdout: 'pipe', stderr: 'pipe' }).catch(
      asExecError(program),
    );
    const killed = () => void kill(part).catch(err => log.warn({ part, err }, 'a program is left running'));
    try {
      const result = resultOf(held.child, program.argv, options, killed);
      held.go();
      return await result;
    } finally {
      await kill(part);
    }
  }

  async function runIn(part: string, program: RunProgram, options: RunOptions = {}): Promise<ExecResult> {
    options.signal?.throwIfAborted();
    const { child, id, go, drop } = await hold({ ...program, stdout: 'pipe', stderr: 'pipe' }, shells).catch(
      asExecError(program),
    );
    const result = resultOf(child, program.argv, options, () => void signal(id, 'SIGKILL', 'group'));
    result.catch(() => {}); // it may end before it is waited for
    try {
      const group = parts.get(part)?.group;
      if (group !== undefined) await enter(group, id.pid);
      go();
    } catch {
      drop(); // the part has ended meanwhile
    }
    return await result;
  }

  async function succeed(part: string, pid: number): Promise<Running | undefined> {
    const [known, leader] = [parts.get(part), identify(pid)];
    if (known === undefined || leader === undefined || !(await known.members.pids()).includes(pid))
      return undefined;
    await known.kept?.catch(() => {}); // or it would come after what is written now
    const { group, notes, alone } = known;
    const next = adopted(part, {
      leader,
      uid: known.uid,
      notes,
      ...(group && { group }),
      ...(alone && { alone }),
    });
    writeRecord(folder, recordOf(part, next));
    return next;
  }

  async function end(part: string, stages: readonly Stage[], options: EndOptions = {}): Promise<boolean> {
    const known = parts.get(part);
    if (known === undefined) return true;
    const inOrder = await askToEnd(known, stages, options);
    await killKnown(part, known);
    return inOrder;
  }

  async function kill(part: string): Promise<void> {
    const known = parts.get(part);
    if (known !== undefined) await killKnown(part, known);
  }

  /** Of two who want the same, the second waits for the first: by then there may be a new part of that name. */
  async function killKnown(part: string, known: Part): Promise<void> {
    known.dying ??= known.members.kill().then(async () => {
      await known.kept?.catch(() => {});
      if (parts.get(part) !== known) return;
      ends.forget(part);
      removeRecord(folder, part);
      parts.delete(part);
    });
    try {
      await known.dying;
    } catch (error) {
      delete known.dying; // it may be tried again
      throw error;
    }
  }

  /** A part that goes on without us being told of its end. */
  function adopted(part: string, of: Pick<Part, 'leader' | 'group' | 'uid' | 'notes' | 'alone'>): Part {
    const { leader, group, alone } = of;
    const { promise: ended, resolve } = Promise.withResolvers<Exit>();
    const ungrouped = alone ? membersOfLoner : membersOfLeader;
    const members = group === undefined ? ungrouped(leader) : membersOfGroup(group);
    members.remember(); // it may end before we look again
    const known = { ...of, ended, members, recorded: true };
    parts.set(part, known);
    if (!alone) ends.watch(part, leader, group, () => void exitOf(group, {}).then(resolve));
    return known;
  }

  /** @returns the directories that groups of ours are or were made in */
  async function takeOver(): Promise<ReadonlySet<string>> {
    const all = new Set(groups?.homes);
    for (const { part, leader, uid: runsAs, group, alone, notes = {} } of readRecords(folder)) {
      for (const dir of group?.dirs ?? []) all.add(dirname(dir));
      adopted(part, { leader, uid: runsAs, notes, ...(group && { group }), ...(alone && { alone }) });
    }
    const known = new Set([...parts.values()].flatMap(({ group }) => group?.dirs ?? []));
    for (const dir of all) {
      const left = (await groupsOf(dir)).map(key => join(dir, key)).filter(path => !known.has(path));
      await Promise.all(left.map(removeLeft));
    }
    return all;
  }

  /** Of a part that has ended, or of one that was never let go, because the daemon died. */
  async function removeLeft(dir: string): Promise<void> {
    const group = { dirs: [dir] };
    await killMembers(group)
      .then(() => removeGroup(group))
      .catch(err => log.warn({ dir, err }, 'a control group is left'));
  }
}

// --- internal -----------------------------------------------------------------------------------

type Part = Running & {
  readonly uid: number;
  readonly alone?: true;
  group?: Group;
  members: Members;
  notes: Notes;
  /** false while it is held. */
  recorded: boolean;
  /** While it is being killed. */
  dying?: Promise<void>;
  /** Writes its record anew. */
  keep?: () => Promise<void>;
  /** The last time that it was. */
  kept?: Promise<void>;
};

const recordOf = (part: string, { leader, group, notes, alone, uid }: Part) => ({
  part,
  leader,
  uid,
  ...(group && { group }),
  ...(alone && { alone }),
  notes,
});

/** As a file name. Instances are short letters and digits; in tests they are paths. */
const GROUPS = 'offshoot-';

const groupName = (instance: string): string => `${GROUPS}${instance.replace(/[^A-Za-z0-9.-]+/g, '-')}`;

async function exitOf(group: Group | undefined, how: Omit<Exit, 'outOfMemory'>): Promise<Exit> {
  return { ...how, outOfMemory: group !== undefined && (await memoryKills(group)) > 0 };
}

/** @returns whether its leader ended before the last of the times was over */
async function askToEnd(
  { leader, members, ended }: Part,
  stages: readonly Stage[],
  { to = 'group', signal: abort }: EndOptions,
): Promise<boolean> {
  for (const [name, deadlineMs] of stages) {
    members.remember();
    if (!signal(leader, name, to)) return true;
    try {
      await until(() => (isAlive(leader) ? undefined : true), {
        what: `process ${leader.pid} ends after ${name}`,
        deadlineMs,
        intervalMs: 25, // for one that an earlier daemon started, whose end may be told late
        event: ended,
        ...(abort && { signal: abort }),
      });
      return true;
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
    }
  }
  return false;
}

const asExecError =
  ({ argv }: RunProgram) =>
  (cause: unknown): never => {
    if (cause instanceof HeldVariableError) throw cause;
    throw new ExecError({ argv, errno: (cause as NodeJS.ErrnoException).code, cause });
  };
