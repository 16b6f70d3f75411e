/** What the API asks of those who hold branches and run programs, answered by the drivers of this process. */
import { randomBytes } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import type { BranchesAtHand, ImportsAtHand, ProgramsAtHand, UploadsAtHand } from '../api/context.ts';
import type { Config } from '../config.ts';
import type { Drivers } from '../drivers/open.ts';
import { sealKeyIn } from '../drivers/seal-key.ts';
import { isFileName, openUploads, type Uploads } from '../drivers/uploads.ts';
import { merge } from '../lib/channel.ts';
import type { Log } from '../lib/log.ts';
import { seal, unseal } from '../lib/sealed.ts';
import { bytesText } from '../model/bytes.ts';
import { OffshootError } from '../model/errors.ts';
import { isLow, type Room } from '../model/room.ts';
import type { Loop } from '../reconcile/loop.ts';

export function branchesAtHand(
  { branches, choosePostgres, why }: Pick<Drivers, 'branches' | 'choosePostgres' | 'why'>,
  { unclaimed, leftovers }: Loop,
  log: Log,
): BranchesAtHand {
  return {
    stock: branches,
    choosePostgres,
    volumes: () => ({ driver: branches.name, copyOnWrite: branches.copyOnWrite, why: why.volumes }),
    async space() {
      const [room, sizes] = await Promise.all([branches.room(), branches.usages()]);
      return { room: { ...room, low: isLow(room) }, sizes };
    },
    logicalBytes: id =>
      branches.logicalBytes(id, { signal: AbortSignal.timeout(COUNT_MS), log }).catch(() => undefined), // many files, or it is just being removed
    history: id => branches.history(id, { signal: AbortSignal.timeout(REACH_MS), log }),
    unclaimed,
    orphans: () => leftovers().orphans,
    logs: (id, query, signal) => branches.logs(id, query, { signal, log }),
    opens: (id, wish) =>
      branches.opens(id, wish, { signal: AbortSignal.timeout(OPENS_MS), log }).catch(() => undefined), // it may just be ending
    insight: (id, signal) => branches.insight(id, { signal, log }),
  };
}

/** A look at a source is short; all else is an importer's, a process of its own. */
export async function importsAtHand(
  { home, minFreeBytes }: Pick<Config, 'home' | 'minFreeBytes'>,
  env: Readonly<Record<string, string | undefined>>,
  room: () => Promise<Room>,
): Promise<ImportsAtHand> {
  const key = await sealKeyIn(home);
  const uploads = await openUploads(home);
  return {
    uploads: uploadsAtHand(uploads, home, minFreeBytes),
    seal: password => seal(key, password),
    newMaskSecret: () => seal(key, randomBytes(SECRET_BYTES).toString('base64')),
    async suggest({ server, password }, options) {
      const { suggestRules } = await import('../data/import.ts');
      const { freeBytes } = await room();
      return suggestRules(
        { source: server, password, roomBytes: Math.max(0, freeBytes - minFreeBytes) },
        options,
      );
    },
    async look(from, options) {
      if ('file' in from) {
        const { lookAtDump } = await import('../data/dump.ts');
        const folder = await uploads.folder(from.file.upload);
        if (folder === undefined)
          throw new OffshootError('api/not-found', { kind: 'upload', name: from.file.upload });
        const { tool, ...seen } = await lookAtDump(folder, options, { env, cwd: '/' });
        return { source: { ...from.file, ...(tool !== undefined && { tool }) }, ...seen };
      }
      const { server, ...secret } = from;
      const password = 'password' in secret ? secret.password : (unseal(key, secret.sealed) ?? '');
      const { lookAtSource } = await import('../data/import.ts');
      const { freeBytes } = await room();
      const roomBytes = Math.max(0, freeBytes - minFreeBytes);
      return {
        ...{ source: server, database: server.database },
        ...(await lookAtSource({ source: server, password, roomBytes }, options)),
      };
    },
  };
}

function uploadsAtHand(
  { begin, append, keep, remove }: Uploads,
  home: string,
  minFreeBytes: number,
): UploadsAtHand {
  /** Of the disk, which is that of the host: what is to stay free there is everybody's. */
  const roomBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(home);
    return Math.max(0, bavail * bsize - minFreeBytes);
  };
  return {
    keep,
    remove,
    async begin(bytes = 0) {
      const room = await roomBytes();
      if (bytes > room)
        throw new OffshootError('import/no-room', { need: bytesText(bytes), room: bytesText(room) });
      return begin();
    },
    async append(id, file, offset, bytes) {
      if (!isFileName(file))
        throw new OffshootError('api/bad-request', {
          why: `"${file.slice(0, 100)}" is no name of a file of a dump`,
        });
      let size: number | undefined;
      try {
        // Of a pipe nobody knows how much will come.
        if (bytes.length > (await roomBytes())) throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
        size = await append(id, file, offset, bytes);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause;
        await remove(id);
        throw new OffshootError('import/full', {}, { cause });
      }
      if (size === undefined) throw new OffshootError('api/not-found', { kind: 'upload', name: id });
      return size;
    },
  };
}

/** Of a mask's secret. */
const SECRET_BYTES = 32;

/** Milliseconds for one question to a server. */
const OPENS_MS = 2_000;

/** Milliseconds for a small file. */
const REACH_MS = 10_000;

/** Milliseconds for the files of one branch. */
const COUNT_MS = 2_000;

/**
 * @param logIdOf under which the driver has the log of a workload
 * @param migrationsOf see Loop
 */
export async function programsAtHand(
  {
    workloads,
    steps,
    processes,
    networks,
    engine,
  }: Pick<Drivers, 'workloads' | 'steps'> & Partial<Pick<Drivers, 'processes' | 'networks' | 'engine'>>,
  logIdOf: (of: Parameters<ProgramsAtHand['logs']>[0]) => string,
  migrationsOf: Loop['migrations'],
  log: Log,
): Promise<ProgramsAtHand> {
  const can = await workloads.capabilities();
  const keeps = (['volumes', 'memory-volumes', 'names', 'processes'] as const).filter(kept =>
    can.some(({ name, ok }) => name === `workload/${kept}` && ok),
  );
  const within = (ms: number) => ({ signal: AbortSignal.timeout(ms), log });
  return {
    keeps: [...(processes?.keeps ?? []), ...(networks === undefined ? [] : (['ports'] as const)), ...keeps],
    logs: (of, query, signal) => workloads.logs(logIdOf(of), query, { signal, log }),
    inside: async (of, container) =>
      (await workloads.inside?.(logIdOf(of), container)) ?? {
        why: 'in a cluster that is for kubectl: "kubectl exec -it POD -c CONTAINER -- COMMAND"',
      },
    async changed(of) {
      if (workloads.code === undefined) return [];
      const ids = new Map(of.map(one => [logIdOf(one), one]));
      return (await workloads.code.changed([...ids.keys()])).map(id => ids.get(id)!);
    },
    async migrationDue(sandbox) {
      for (const { id, spec } of migrationsOf(sandbox))
        if (await workloads.migrations?.due(id, spec)) return true;
      return false;
    },
    async *migrationLogs(sandbox, query, signal) {
      const { migrations } = workloads;
      if (migrations === undefined) return;
      const all = migrationsOf(sandbox).map(({ id, spec }) =>
        migrations.logs(id, spec, query, { signal, log }),
      );
      yield* merge(all, { sideBySide: query.follow ?? false });
    },
    disks: {
      list: () => workloads.disks.list(within(30_000)),
      bytes: disk => workloads.disks.bytes(disk, within(30_000)),
      remove: (namespace, claim) => workloads.disks.remove(namespace, claim, within(60_000)),
    },
    engine() {
      const found = engine?.current();
      return found && { title: found.title, socket: found.socket };
    },
    stepPathProblem: path => steps.pathProblem(path),
  };
}
