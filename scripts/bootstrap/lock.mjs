/**
 * One set-up of a checkout at a time. The lock is a folder with one entry, named after its owner. It comes into
 * being whole, by a rename, which fails on a folder that is not empty. A dead owner's lock is taken over by
 * renaming that entry, in which only one of several can succeed.
 */
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOr } from './files.mjs';
import { root } from './paths.mjs';
import { SetupError, say } from './run.mjs';

const patienceMs = 30 * 60_000;

/** Runs `body` while holding `lock`, a path. @throws SetupError when it cannot be had. */
export async function withLock(lock, body) {
  const me = `${process.pid}-${startTime(process.pid)}`;
  const mine = `${lock}.${me}`;
  try {
    mkdirSync(mine, { recursive: true });
    writeFileSync(join(mine, me), '');
  } catch (error) {
    throw new SetupError(
      `cannot write to ${root} (${error.code}): make it writable for this user, then repeat`,
    );
  }
  try {
    await acquire(lock, mine, me);
    try {
      await body();
    } finally {
      release(lock, me);
    }
  } finally {
    rmSync(mine, { recursive: true, force: true });
  }
}

// --- internal ------------------------------------------------------------------------------------

async function acquire(lock, mine, me) {
  const end = Date.now() + patienceMs;
  for (let told = false; Date.now() < end; ) {
    if (renamed(mine, lock)) return;
    const owner = ownerOf(lock);
    if (owner !== undefined && !isAlive(owner) && renamed(join(lock, owner), join(lock, me))) return;
    if (owner !== undefined && !told) {
      told = true;
      say(`waiting for another set-up of this checkout (pid ${owner.split('-')[0]})`);
    }
    await new Promise(wake => setTimeout(wake, 25));
  }
  throw new SetupError(`another set-up has held ${lock} for too long: end it, then repeat`);
}

function release(lock, me) {
  try {
    unlinkSync(join(lock, me));
    rmdirSync(lock);
  } catch {
    // The next owner has moved in already: also one in another PID namespace, who saw no process of this pid.
  }
}

function renamed(from, to) {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(error.code)) return false;
    throw error;
  }
}

function ownerOf(lock) {
  try {
    return readdirSync(lock)[0];
  } catch {
    return undefined;
  }
}

/** A pid may have been reused, hence the start time beside it. */
function isAlive(owner) {
  const [pid, start] = owner.split('-');
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
  }
  return startTime(pid) === start;
}

/** Clock ticks since boot (proc_pid_stat(5), field 22); empty where there is no /proc. */
function startTime(pid) {
  const stat = readOr(`/proc/${pid}/stat`) ?? '';
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
