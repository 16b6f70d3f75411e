/**
 * Composition of an importer: a process of its own beside the branches. It runs the server that is filled, which nobody else
 * reaches, and ends it in order: only then it says that all has come. `node importer.ts JOB`
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runImport } from './data/import.ts';
import { createProgress } from './data/progress.ts';
import { openTarget } from './data/session.ts';
import type { ImportJob, ImportResult } from './drivers/branch/imports.ts';
import { exec } from './lib/exec.ts';
import { orAborted, until } from './lib/wait.ts';
import { adminRole } from './model/branch.ts';
import { toOffshootError } from './model/errors.ts';

const [, , file = ''] = process.argv;
const job = JSON.parse(readFileSync(file, 'utf8')) as ImportJob;
rmSync(file, { force: true }); // it holds passwords
void main();

async function main(): Promise<void> {
  const write = (name: string, value: unknown): void => {
    const path = join(job.folder, name);
    writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };
  const { count } = job.spec;
  const result: ImportResult = await fill(progress => write('progress.json', progress)).then(
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

async function fill(tell: (progress: unknown) => void) {
  const target = { socketDir: job.socketDir, user: adminRole, password: job.adminSecret };
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
  const server = startServer();
  const gone = new AbortController();
  const ended = once(server, 'exit').then(([code]) => {
    gone.abort(new Error(`the server that is filled ended with code ${code}`));
    return code as number | null;
  });
  ended.catch(error => gone.abort(error)); // it cannot be started
  try {
    await until(
      async () =>
        openTarget({ ...target, database: 'postgres' }).then(
          s => s.close().then(() => true),
          () => undefined,
        ),
      {
        what: 'the server that is filled accepts connections',
        deadlineMs: 120_000,
        intervalMs: 25,
        signal: gone.signal,
      },
    );
    const { spec, password, maskSecret, database, role, roomBytes } = job;
    const report = await runImport({
      ...(maskSecret !== undefined && { maskSecret }),
      ...{ spec, password, target, database, role, roomBytes, progress },
      signal: gone.signal,
    });
    progress.phase('ending');
    server.kill('SIGINT');
    const code = await orAborted(ended, AbortSignal.timeout(STOP_MS));
    if (code !== 0) throw new Error(`the server that was filled ended with code ${code}`);
    // It has waited for no write to reach the disk; now all of them have to.
    await exec('sync', process.platform === 'linux' ? ['-f', job.dataDir] : [], {
      cwd: '/',
      deadlineMs: 600_000,
    });
    return report;
  } catch (error) {
    server.kill('SIGQUIT');
    throw error;
  } finally {
    clearTimeout(late);
  }
}

function startServer(): ChildProcess {
  const { argv, uid, gid } = job.server;
  const [program = '', ...args] = argv;
  const log = openSync(join(job.folder, 'postgres.log'), 'a', 0o600);
  try {
    const child = spawn(program, args, {
      ...{ cwd: '/', env: {}, stdio: ['ignore', log, log] },
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
    });
    child.on('error', error => process.stderr.write(`${error.message}\n`));
    return child;
  } finally {
    closeSync(log);
  }
}

/** For it to write all that it holds. */
const STOP_MS = 600_000;
/** Between two words of how far it is. */
const TELL_MS = 300;
