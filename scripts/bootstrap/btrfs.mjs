/** The system package btrfs-progs, where the machine allows it: copy-on-write branches need it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readOr } from './files.mjs';
import { cache } from './paths.mjs';
import { findProgram, lastLine, run, say } from './run.mjs';

/** User id and time of a try that failed: only another user or another day tries again. */
const triedFile = join(cache, 'btrfs-tried');
const day = 24 * 60 * 60_000;

export function needsBtrfs() {
  if (process.platform !== 'linux' || process.env.OFFSHOOT_NO_INSTALL === '1') return false;
  if (findProgram('mkfs.btrfs') !== undefined) return false;
  const [uid, at] = (readOr(triedFile) ?? '').split(' ').map(Number);
  return uid !== process.getuid() || !(Date.now() - at < day);
}

/** Installs it, or says in one sentence what its absence costs. */
export async function installBtrfs() {
  const why = await obstacle();
  if (why === undefined) return;
  say(`branches will be full copies of their parent, slower and larger: ${why}`);
  try {
    mkdirSync(dirname(triedFile), { recursive: true });
    writeFileSync(triedFile, `${process.getuid()} ${Date.now()}`);
  } catch {
    // A checkout that this user cannot write to: the sentence comes again next time.
  }
}

// --- internal ------------------------------------------------------------------------------------

/** @returns why btrfs-progs cannot be had, or undefined when it has been installed */
async function obstacle() {
  if (process.getuid() !== 0) return 'btrfs-progs is not installed, and only root can install and mount it';
  if (findProgram('apt-get') === undefined) return 'btrfs-progs is not installed, and there is no apt-get';
  if (!(await kernelKnowsBtrfs())) return 'this kernel does not know btrfs';
  say('installing the system package btrfs-progs with apt-get, for copy-on-write branches');
  const first = await aptGet('install', '-y', '--no-install-recommends', 'btrfs-progs');
  if (first.ok) return undefined;
  // A fresh machine has no package lists, an old one outdated lists.
  await aptGet('update');
  const second = await aptGet('install', '-y', '--no-install-recommends', 'btrfs-progs');
  return second.ok ? undefined : `apt-get could not install btrfs-progs (${lastLine(second.output)})`;
}

function aptGet(...args) {
  const limits = ['DPkg::Lock::Timeout=60', 'Acquire::Retries=1', 'Acquire::http::Timeout=20'];
  return run('apt-get', [...limits.flatMap(limit => ['-o', limit]), ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    deadlineMs: 4 * 60_000,
  });
}

async function kernelKnowsBtrfs() {
  const listed = () => /\bbtrfs$/m.test(readOr('/proc/filesystems') ?? '');
  if (!listed() && findProgram('modprobe') !== undefined)
    await run('modprobe', ['btrfs'], { env: process.env, deadlineMs: 60_000 });
  return listed();
}
