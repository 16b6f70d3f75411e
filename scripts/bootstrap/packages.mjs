/** node_modules, as package-lock.json says. */
import { createHash } from 'node:crypto';
import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readOr, writable } from './files.mjs';
import { chosenNode } from './node.mjs';
import { npm } from './npm.mjs';
import { platform, root } from './paths.mjs';
import { say } from './run.mjs';

const lockFile = join(root, 'package-lock.json');
/** Says what node_modules was installed from. ./offshoot compares its time with package-lock.json's. */
const stampFile = join(root, 'node_modules', '.offshoot-stamp');

export function packagesAreFresh() {
  if (readOr(stampFile) !== stamp()) return false;
  const touched = statSync(stampFile).mtimeMs < statSync(lockFile).mtimeMs;
  if (touched && writable(stampFile)) utimesSync(stampFile, new Date(), new Date());
  return true;
}

export async function installPackages() {
  say('installing packages with npm ci (once, and whenever package-lock.json changes)');
  // No install scripts: none of the packages needs one, and newer npm holds them back anyway.
  const flags = ['--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
  await npm(chosenNode(), ['ci', ...flags, '--loglevel=error']);
  writeFileSync(stampFile, stamp());
}

const stamp = () =>
  `${createHash('sha256').update(readFileSync(lockFile)).digest('hex')} ${platform} node24\n`;
