/**
 * Bundles what ./offshoot runs, because loading hundreds of small files is most of the time of every start. A bundle lies in a folder
 * named after what it was made of, `.cache/bundle/<name>/`, so that programs which run keep theirs. `.cache/bundle/current` holds the
 * name that counts, or `sources` when they could not be bundled. Its time is the one at which the sources were read: ./offshoot comes
 * here again when anything in them has changed since.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { compile } from './compile.mjs';
import { readOr, writable } from './files.mjs';
import { withLock } from './lock.mjs';
import { chosenNode } from './node.mjs';
import { cache, root } from './paths.mjs';
import { run, SetupError, say } from './run.mjs';

const folder = join(cache, 'bundle');
const current = join(folder, 'current');
/** What a bundle is made of; ./offshoot looks at the same. Whoever mends a package by hand removes `.cache/bundle`. */
const ingredients = ['src', 'package.json', 'node_modules/.offshoot-stamp', 'scripts/bootstrap'];
/** Older ones may still run, the newest of them longest. */
const kept = 5;

/** A checkout that cannot be written to runs from its sources. */
export async function bundle() {
  if (isFresh() || !hasPlace()) return;
  try {
    await withLock(join(cache, 'bundle.lock'), async () => {
      if (!isFresh()) await make();
    });
  } catch (error) {
    if (error instanceof SetupError) throw error;
    sayWhy(error.message); // the disk is full, for example
  }
}

// --- internal ------------------------------------------------------------------------------------

function hasPlace() {
  try {
    mkdirSync(folder, { recursive: true });
  } catch {
    return false;
  }
  return writable(folder);
}

const sayWhy = problem =>
  say(`the programs could not be bundled, and start slower from their sources: ${problem}`);

/** As ./offshoot decides it. */
function isFresh() {
  const name = readOr(current)?.trim();
  if (name === undefined || !(name === 'sources' || existsSync(join(folder, name, 'main.cjs')))) return false;
  const made = statSync(current).mtimeMs;
  return files().every(({ changed }) => changed < made);
}

async function make() {
  const draft = join(folder, `${process.pid}.draft`);
  rmSync(draft, { recursive: true, force: true });
  try {
    mkdirSync(draft);
    const begun = statSync(draft).mtimeMs;
    const name = fingerprint();
    if (existsSync(join(folder, name, 'main.cjs'))) return point(name, begun);
    const problem = await roll(draft);
    // Changed meanwhile, and perhaps back again: whoever comes next makes another one.
    if (fingerprint() !== name) return;
    if (problem !== undefined) {
      sayWhy(problem);
      return point('sources', begun);
    }
    rmSync(join(folder, name), { recursive: true, force: true });
    renameSync(draft, join(folder, name));
    await compile(join(folder, name));
    point(name, begun);
    forgetOld(name);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** By the Node that will run it. @returns what is wrong, or undefined */
async function roll(into) {
  const script = join(root, 'scripts', 'bootstrap', 'roll.mjs');
  const { ok, output } = await run(chosenNode(), [script, into], {
    cwd: root,
    env: process.env,
    deadlineMs: 120_000,
  });
  return ok ? undefined : output.trim();
}

/** @param begun milliseconds; the clock of files goes in steps of up to 10, so what has changed in the last of them counts as later */
function point(name, begun) {
  const next = join(folder, `${process.pid}.current`);
  writeFileSync(next, `${name}\n`);
  const time = (begun - 10) / 1000;
  utimesSync(next, time, time);
  renameSync(next, current);
}

function forgetOld(name) {
  const bundles = readdirSync(folder, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && entry.name !== name && !entry.name.endsWith('.draft'))
    .map(entry => ({ path: join(folder, entry.name), made: statSync(join(folder, entry.name)).ctimeMs }));
  for (const { path } of bundles.sort((a, b) => b.made - a.made).slice(kept - 1))
    rmSync(path, { recursive: true, force: true });
}

function fingerprint() {
  const hash = createHash('sha256');
  for (const { path, isFile } of files())
    if (isFile)
      hash
        .update(`${path}\0`)
        .update(readFileSync(join(root, path)))
        .update('\0');
  return hash.digest('hex').slice(0, 16);
}

/**
 * Files and folders, with the time in milliseconds at which content, name or place of each was last changed (stat(2): ctime, which
 * no tool that copies files sets back).
 */
function files() {
  const found = [];
  const look = path => {
    const stat = statSync(join(root, path), { throwIfNoEntry: false });
    if (stat === undefined) return;
    found.push({ path, isFile: stat.isFile(), changed: stat.ctimeMs });
    if (stat.isDirectory()) for (const name of readdirSync(join(root, path)).sort()) look(join(path, name));
  };
  ingredients.forEach(look);
  return found;
}
