/** What must outlive a daemon, and a boot: which addresses are whose. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { keptFile } from '../../lib/kept-file.ts';

export type NetworkState = {
  /** Ours, e.g. `10.208.16.0/20`. */
  readonly range?: string;
  /** Pod → address. */
  readonly pods: Readonly<Record<string, string>>;
  /** Interfaces of this machine that forward because we have said so. */
  readonly forwarding: readonly string[];
};

export function readNetworkState(file: string): NetworkState {
  try {
    const { range, pods, forwarding } = JSON.parse(readFileSync(file, 'utf8')) as Partial<NetworkState>;
    return { ...(range !== undefined && { range }), pods: pods ?? {}, forwarding: forwarding ?? [] };
  } catch {
    return { pods: {}, forwarding: [] };
  }
}

/** By rename: a reader finds the whole or nothing. */
export function writeNetworkState(file: string, state: NetworkState): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, textOf(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** @returns saves what `state` says then, see `keptFile`; the folder is there, and nobody writes it otherwise meanwhile */
export const keptNetworkState = (file: string, state: () => NetworkState): (() => Promise<void>) =>
  keptFile(file, () => textOf(state()));

// --- internal ------------------------------------------------------------------------------------

const textOf = (state: NetworkState): string => `${JSON.stringify(state)}\n`;
