/**
 * Composition of an importer: a process of its own beside the branches. It runs the server that is filled, which nobody else
 * reaches, and ends it in order: only then it says that all has come. A mask with SQL takes two: the statements run on the first,
 * and what they leave fills the second. `node importer.ts JOB`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { importDump } from './data/dump.ts';
import { runImport } from './data/import.ts';
import { runStatements } from './data/mask/statements.ts';
import { createProgress, type Progress } from './data/progress.ts';
import { openTarget, type TargetAddress } from './data/session.ts';
import type { ImportJob, ImportResult, ImportServer } from './drivers/branch/imports.ts';
import { exec } from './lib/exec.ts';
import { orAborted, until } from './lib/wait.ts';
import { adminRole } from './model/branch.ts';
import { toOffshootError } from './model/errors.ts';
import { type ImportReport, isFile } from './model/import.ts';

const [, , file = ''] = process.argv;
const job = JSON.parse(readFileSync(file, 'utf8')) as ImportJob;
rmSync(file, { force: true }); // it holds passwords

async function main(): Promise<void> {
  const write = (name: string, value: unknown): void => {
    const path = join(job.folder, name);
    writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };
  const { count } = job.spec;
  const result: ImportResult = await telling(progress => write('progress.json', progress), fill).then(
    report => ({ count, report }),
    error => {
      process.stderr.write(`${(error as Error).stack}\n`);
      const { code, params } = toOffshootError(error);
      return { count, code, params };
    },
  );
  write('result.json', result);
  process.exit(0);
}

/** Tells how far it is, now and then. */
async function telling<R>(
  tell: (progress: unknown) => void,
  work: (progress: Progress) => Promise<R>,
): Promise<R> {
  let said = 0;
  let late: NodeJS.Timeout | undefined;
  const progress = createProgress(() => {
    const wait = said + TELL_MS - performance.now();
    if (wait > 0) {
      late ??= setTimeout(() => say(), wait).unref();
      return;
    }
    say();
  });
  const say = (): void => {
    clearTimeout(late);
    late = undefined;
    said = performance.now();
    tell(progress.now());
  };
  try {
    return await work(progress);
  } finally {
    clearTimeout(late);
  }
}

async function fill(progress: Progress): Promise<ImportReport> {
  const { spec, password, maskSecret, database, role, roomBytes, raw } = job;
  const common = { database, role, roomBytes, ...(maskSecret !== undefined && { maskSecret }) };
  const { source: from } = spec;
  if (isFile(from))
    return await filled(job, progress, (target, signal) =>
      importDump({
        ...{ ...common, name: from.file, folder: job.dump!, tool: from.tool, user: job.server },
        ...{ schemaOnly: spec.schemaOnly ?? false, target, progress, signal },
      }),
    );
  const statements = spec.mask?.sql ?? [];
  if (raw === undefined || statements.length === 0)
    return await filled(job, progress, (target, signal) =>
      runImport({ ...common, spec, source: from, password, target, progress, signal }),
    );
  const first = startServer(raw, SILENT);
  try {
    const target = await ready(raw, first);
    const { signal } = first;
    const report = await runImport({ ...common, spec, source: from, password, target, progress, signal });
    progress.phase('masking');
    await runStatements({ ...target, database }, role, statements, signal);
    // Only rows that live pass: nothing of what was there before, nor its WAL, is in the second.
    const { socketDir } = raw;
    const source = { host: socketDir, port: 5432, user: adminRole, database, sslmode: 'disable' } as const;
    const { count, at, jobs } = spec;
    const again = { count, at, source, ...(jobs !== undefined && { jobs }) };
    const { leftOut, rows, ms } = await filled(job, progress, (to, ending) =>
      runImport({
        ...{ database, role, roomBytes, spec: again, source, password: job.adminSecret, target: to },
        ...{ progress: quiet(progress), signal: AbortSignal.any([signal, ending]) },
      }),
    );
    const known = new Set(report.leftOut.map(({ what }) => what));
    // Of the first one's superuser, and what was said before, there is nothing to say.
    const more = leftOut.filter(({ what }) => !known.has(what) && !what.includes(adminRole));
    return { ...report, rows, ms: report.ms + ms, leftOut: [...report.leftOut, ...more] };
  } finally {
    first.child.kill('SIGQUIT');
    await first.ended.catch(() => {});
  }
}

/** What is told of a second copy is that it goes on. */
const quiet = (progress: Progress): Progress => ({
  ...progress,
  phase() {},
  plan() {},
  moved() {},
  done() {},
});

/** Runs a server while it is filled, and ends it in order: its files are complete then, and on the disk. */
async function filled(
  place: ImportServer,
  progress: Progress,
  work: (target: Target, signal: AbortSignal) => Promise<ImportReport>,
): Promise<ImportReport> {
  const server = startServer(place);
  try {
    const report = await work(await ready(place, server), server.signal);
    progress.phase('ending');
    server.child.kill('SIGINT');
    const code = await orAborted(server.ended, AbortSignal.timeout(STOP_MS));
    if (code !== 0) throw new Error(`the server that was filled ended with code ${code}`);
    // It has waited for no write to reach the disk; now all of them have to.
    await exec('sync', process.platform === 'linux' ? ['-f', place.dataDir] : [], {
      cwd: '/',
      deadlineMs: 600_000,
    });
    return report;
  } catch (error) {
    server.child.kill('SIGQUIT');
    throw error;
  }
}

type Target = Omit<TargetAddress, 'database'>;

type Server = {
  readonly child: ChildProcess;
  /** With its exit code. */
  readonly ended: Promise<number | null>;
  /** Aborts when it has ended, or cannot be started. */
  readonly signal: AbortSignal;
};

async function ready({ socketDir }: ImportServer, { signal }: Server): Promise<Target> {
  const target = { socketDir, user: adminRole, password: job.adminSecret };
  await until(
    async () =>
      openTarget({ ...target, database: 'postgres' }).then(
        s => s.close().then(() => true),
        () => undefined,
      ),
    { what: 'the server that is filled accepts connections', deadlineMs: 120_000, intervalMs: 25, signal },
  );
  return target;
}

function startServer({ server: { argv, uid, gid } }: ImportServer, more: readonly string[] = []): Server {
  const [program = '', ...args] = argv;
  const log = openSync(join(job.folder, 'postgres.log'), 'a', 0o600);
  try {
    const child = spawn(program, [...args, ...more], {
      ...{ cwd: '/', env: {}, stdio: ['ignore', log, log] },
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
    child.on('error', error => process.stderr.write(`${error.message}\n`));
    const gone = new AbortController();
    const ended = once(child, 'exit').then(([code]) => {
      gone.abort(new Error(`the server that is filled ended with code ${code}`));
      return code as number | null;
    });
    ended.catch(error => gone.abort(error)); // it cannot be started
    return { child, ended, signal: gone.signal };
  } finally {
    closeSync(log);
  }
}

/** A server on which SQL of a mask runs has rows that nobody is to see, and what it logs of an error may quote one. */
const SILENT = ['-c', 'log_min_messages=panic', '-c', 'log_min_error_statement=panic'];

/** For it to write all that it holds. */
const STOP_MS = 600_000;
/** Between two words of how far it is. */
const TELL_MS = 300;

void main(); // last, for it needs all that is named above
