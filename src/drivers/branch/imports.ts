/**
 * Importers: each fills a hidden volume, `<id>-import`, in a process of its own that outlives us. The next daemon finds it
 * by the registry of processes; one that was killed begins anew, with an empty volume. What came of it stands in a file, so
 * an import that is done, or has failed, is not done twice.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Listeners } from '../../lib/listeners.ts';
import type { Log } from '../../lib/log.ts';
import { unseal } from '../../lib/sealed.ts';
import { type ErrorCode, type ErrorParams, OffshootError } from '../../model/errors.ts';
import {
  type ImportProgress,
  type ImportReport,
  type ImportSource,
  type ImportSpec,
  type ImportStatus,
  isFile,
} from '../../model/import.ts';
import type { ServerDriver, VolumeDriver } from '../branch-parts.ts';
import type { BranchWish, Ctx, Failure } from '../contract.ts';
import { labels } from '../labels.ts';
import type { Processes, Running } from '../processes/contract.ts';
import { uploadFolder } from '../uploads.ts';

export type ImportsOptions = {
  /** The data directory; ours is `imports` in it. */
  readonly home: string;
  readonly instance: string;
  readonly processes: Processes;
  readonly volumes: VolumeDriver;
  readonly servers: Pick<ServerDriver, 'initialise' | 'filling' | 'remove'>;
  readonly adminSecret: string;
  /** Opens the passwords of sources. */
  readonly sealKey: string;
  /** Starts an importer; the path of its job comes last. */
  readonly command: readonly string[];
  /** Bytes that must stay free. */
  readonly minFreeBytes: number;
  readonly log: Log;
};

export type Filled = {
  /** All of it is there, and checked: it may take its place. */
  readonly ready: boolean;
  readonly status: ImportStatus;
  readonly failure?: Failure;
};

export type Imports = {
  /**
   * How far the newest import is; begins it where it has not begun.
   * @param have of which import the volume is that is there
   * @returns undefined when the volume is what was asked for
   */
  look(id: string, wish: BranchWish, have: number | undefined, ctx: Ctx): Promise<Filled | undefined>;
  /** As of the last look. */
  of(id: string): ImportStatus | undefined;
  /** The hidden volume has taken its place. */
  taken(id: string, ctx: Ctx): Promise<void>;
  /** Ends it; the next look begins it anew. */
  stop(id: string): Promise<void>;
  /** Nothing is left of it. */
  remove(id: string, ctx: Ctx): Promise<void>;
  /** Calls `listener` with the id of a branch whose import is further, or has ended. @returns the way to stop that */
  onChange(listener: (id: string) => void): () => void;
  /** Ends them all. */
  close(): Promise<void>;
};

/** What an importer is told; see src/importer.ts. Holds passwords: a file of mode 0600, which it removes. */
export type ImportServer = {
  readonly server: { readonly argv: readonly string[]; readonly uid?: number; readonly gid?: number };
  readonly socketDir: string;
  readonly dataDir: string;
};

export type ImportJob = ImportServer & {
  readonly spec: ImportSpec;
  readonly password: string;
  readonly maskSecret?: string;
  /** Folder of the dump that is loaded, when the source is one. */
  readonly dump?: string;
  /** Where SQL of a mask runs, if there is some: filled first. */
  readonly raw?: ImportServer;
  readonly adminSecret: string;
  readonly database: string;
  readonly role: string;
  readonly roomBytes: number;
  /** Where it writes `progress.json`, `result.json` and the server's log. */
  readonly folder: string;
};

export type ImportResult =
  | { readonly count: number; readonly report: ImportReport }
  | { readonly count: number; readonly code: ErrorCode; readonly params: ErrorParams };

/** Of the hidden volume. No branch has such an id. */
export const hiddenOf = (id: string): string => `${id}${SUFFIX}`;

/** Of the volume that SQL of a mask runs on; what it leaves is copied into the hidden one, and then it goes. */
const rawOf = (id: string): string => `${id}${RAW}`;

/** The branch that a hidden volume is for; any other id is its own. */
export function branchOf(id: string): string {
  const suffix = [SUFFIX, RAW].find(end => id.endsWith(end));
  return suffix === undefined ? id : id.slice(0, -suffix.length);
}

export function openImports(options: ImportsOptions): Imports {
  const { home, instance, processes, volumes, servers, log } = options;
  const changed = new Listeners<string>(err => log.error({ err }, 'who is told of an import has failed'));
  const known = new Map<string, ImportStatus>();
  const watched = new Map<string, { readonly running: Running; readonly timer: NodeJS.Timeout }>();
  const folderOf = (id: string): string => join(home, 'imports', id);
  const dumpsOf = (id: string): string => join(home, 'dumps', id);
  const resultOf = (id: string) => readJson<ImportResult>(join(folderOf(id), RESULT));

  const imports: Imports = {
    onChange: changed.add,
    of: id => known.get(id),

    async look(id, wish, have, ctx) {
      const spec = wish.import!;
      if ((have ?? 0) >= spec.count) {
        if (!known.has(id)) await settle(id, spec.count, ctx);
        return undefined;
      }
      const result = await resultOf(id);
      if (result?.count === spec.count) {
        await dropDump(id, spec.source);
        return await ended(id, result, ctx);
      }
      if (spec.cancelled) {
        await imports.stop(id);
        await dropDump(id, spec.source);
        return await refuse(id, spec.count, 'import/cancelled', { project: wish.project }, ctx);
      }
      const running = processes.find(partOf(id));
      if (running !== undefined && processes.notes(partOf(id)).count === String(spec.count))
        return await goesOn(id, spec.count, running);
      const deaths = await deathsOf(id, spec.count);
      if (deaths >= MOST_DEATHS) {
        const params = { times: deaths, log: join(folderOf(id), LOG), project: wish.project };
        await dropDump(id, spec.source);
        return await refuse(id, spec.count, 'import/died', params, ctx);
      }
      return await begin(id, wish, deaths, ctx);
    },

    async taken(id, ctx) {
      unwatch(id);
      const result = await resultOf(id);
      if (result !== undefined) await ended(id, result);
      await dropDump(id);
      await removeVolumes(id, ctx);
    },

    async stop(id) {
      await end(id);
      await rm(join(folderOf(id), STARTS), { force: true }); // it has not died
    },

    async remove(id, ctx) {
      await imports.stop(id);
      await removeServers(id, ctx);
      await removeVolumes(id, ctx);
      await rm(folderOf(id), { recursive: true, force: true });
      await dropDump(id);
      known.delete(id);
    },

    async close() {
      for (const part of processes.list(PARTS)) await imports.stop(part.slice(PARTS.length + 1));
    },
  };
  return imports;

  async function begin(id: string, wish: BranchWish, deaths: number, ctx: Ctx): Promise<Filled> {
    const { sealed, maskSecret, ...spec } = wish.import!;
    const [folder, hidden] = [folderOf(id), hiddenOf(id)];
    await processes.kill(partOf(id));
    await removeServers(id, ctx);
    await removeVolumes(id, ctx);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const dump = isFile(spec.source) ? await takeDump(id, spec.source.upload) : undefined;
    if (isFile(spec.source) && dump === undefined) {
      const params = { project: wish.project, file: spec.source.file };
      return await refuse(id, spec.count, 'import/file-gone', params, ctx);
    }
    const record = {
      id: hidden,
      project: wish.project,
      branch: `${wish.branch} (import)`,
      createdAt: spec.at,
    };
    const fresh = (dir: string, c: Ctx) => servers.initialise(dir, c, wish.postgres);
    const made = async (volume: string): Promise<ImportServer> => {
      const of = { ...record, id: volume };
      const { dataDir } = await volumes.ensure(volume, { record: of, prepare: fresh }, ctx);
      const { socketDir, ...server } = await servers.filling(volume, dataDir);
      return { server, socketDir, dataDir };
    };
    const place = await made(hidden);
    const raw = spec.mask?.sql === undefined ? {} : { raw: await made(rawOf(id)) };
    const { freeBytes } = await volumes.room();
    const job: ImportJob = {
      ...{ spec, ...place, ...raw, folder, ...(dump !== undefined && { dump }) },
      password: unseal(options.sealKey, sealed) ?? '',
      ...(maskSecret && { maskSecret: unseal(options.sealKey, maskSecret)! }),
      adminSecret: options.adminSecret,
      database: wish.database,
      role: wish.role,
      roomBytes: Math.max(0, freeBytes - options.minFreeBytes),
    };
    await writeJson(join(folder, JOB), job);
    await writeJson(join(folder, STARTS), { count: spec.count, times: deaths + 1 });
    const out = openSync(join(folder, LOG), 'a', 0o600);
    try {
      const part = await processes.hold(partOf(id), {
        argv: [...options.command, join(folder, JOB)],
        env: labels(instance, partOf(id)),
        ...{ cwd: '/', stdout: out, stderr: out },
      });
      const running = part.go([], { count: String(spec.count) });
      log.info({ branch: id, count: spec.count }, 'an import begins');
      return await goesOn(id, spec.count, running);
    } finally {
      closeSync(out);
    }
  }

  async function goesOn(id: string, count: number, running: Running): Promise<Filled> {
    watch(id, running);
    const progress = await readJson<ImportProgress>(join(folderOf(id), PROGRESS));
    const status: ImportStatus = { count, state: 'running', ...(progress && { progress }) };
    known.set(id, status);
    return { ready: false, status };
  }

  async function ended(id: string, result: ImportResult, ctx?: Ctx): Promise<Filled> {
    await end(id);
    const { count } = result;
    if ('report' in result) {
      if (ctx !== undefined) await volumes.remove(rawOf(id), ctx);
      const status: ImportStatus = { count, state: 'done', report: result.report };
      known.set(id, status);
      return { ready: true, status };
    }
    const { code, params, message, hint } = new OffshootError(result.code, result.params);
    if (ctx !== undefined) await removeVolumes(id, ctx);
    // Where it was when it failed.
    const progress = await readJson<ImportProgress>(join(folderOf(id), PROGRESS));
    const said = { message, ...(hint !== undefined && { hint }), ...(progress && { progress }) };
    const status: ImportStatus = { count, state: 'failed', ...said };
    known.set(id, status);
    return { ready: false, status, failure: { code, params, output: undefined } };
  }

  async function refuse(
    id: string,
    count: number,
    code: ErrorCode,
    params: ErrorParams,
    ctx: Ctx,
  ): Promise<Filled> {
    await mkdir(folderOf(id), { recursive: true, mode: 0o700 });
    const result = { count, code, params };
    await writeJson(join(folderOf(id), RESULT), result);
    return await ended(id, result, ctx);
  }

  /** Of a daemon before us, or of one that was killed in between. */
  async function settle(id: string, count: number, ctx: Ctx): Promise<void> {
    const result = await resultOf(id);
    if (result?.count === count) await ended(id, result);
    await removeVolumes(id, ctx);
  }

  async function removeServers(id: string, ctx: Ctx): Promise<void> {
    for (const volume of [hiddenOf(id), rawOf(id)]) await servers.remove(volume, ctx);
  }

  async function removeVolumes(id: string, ctx: Ctx): Promise<void> {
    for (const volume of [hiddenOf(id), rawOf(id)]) await volumes.remove(volume, ctx);
  }

  /** Tells of its progress while it runs, and of its end. */
  function watch(id: string, running: Running): void {
    if (watched.get(id)?.running.leader.pid === running.leader.pid) return;
    unwatch(id);
    const timer = setInterval(() => changed.tell(id), TELL_MS);
    timer.unref();
    watched.set(id, { running, timer });
    void running.ended.then(() => {
      if (watched.get(id)?.running === running) unwatch(id);
      changed.tell(id);
    });
  }

  /** Takes what was sent for the import of a branch: it stays until that has ended. @returns its folder */
  async function takeDump(id: string, upload: string): Promise<string | undefined> {
    const mine = join(dumpsOf(id), upload);
    if (existsSync(mine)) return mine;
    await rm(dumpsOf(id), { recursive: true, force: true });
    await mkdir(dumpsOf(id), { recursive: true, mode: 0o700 });
    try {
      await rename(uploadFolder(home, upload), mine);
      return mine;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async function dropDump(id: string, source?: ImportSource): Promise<void> {
    const sent = source !== undefined && isFile(source) ? [uploadFolder(home, source.upload)] : [];
    for (const folder of [dumpsOf(id), ...sent]) await rm(folder, { recursive: true, force: true });
  }

  /** Of its server, nothing is left either, nor of its passwords, if it was killed before it had read them. */
  async function end(id: string): Promise<void> {
    unwatch(id);
    await processes.kill(partOf(id));
    for (const name of [JOB, `${JOB}.new`]) await rm(join(folderOf(id), name), { force: true });
  }

  function unwatch(id: string): void {
    clearInterval(watched.get(id)?.timer);
    watched.delete(id);
  }

  /** How often it was begun and has not ended by itself. */
  async function deathsOf(id: string, count: number): Promise<number> {
    const starts = await readJson<{ count: number; times: number }>(join(folderOf(id), STARTS));
    return starts?.count === count ? starts.times : 0;
  }
}

// --- internal -----------------------------------------------------------------------------------

const SUFFIX = '-import';
const RAW = '-masking';
const PARTS = 'import';
const partOf = (id: string): string => `${PARTS}/${id}`;

const JOB = 'job.json';
const PROGRESS = 'progress.json';
const RESULT = 'result.json';
const STARTS = 'starts.json';
const LOG = 'import.log';

/** One that dies again and again would keep the source busy for ever. */
const MOST_DEATHS = 3;

/** Between two words of how far it is. */
const TELL_MS = 500;

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** @returns undefined when there is none, or half of one */
async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
