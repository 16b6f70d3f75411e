/** What configuration and environment mean for what we start. */
import type { Config } from '../config.ts';
import type { DriverOptions } from '../drivers/open.ts';
import type { Log } from '../lib/log.ts';
import { rememberedPorts } from '../remembered-ports.ts';

export type Env = Readonly<Record<string, string | undefined>>;

/** What programs get of our environment. */
export const passedOnFrom = (env: Env): Record<string, string> =>
  Object.fromEntries(passedOn.flatMap(name => (env[name] === undefined ? [] : [[name, env[name]]])));

export function driverOptions(config: Config, env: Env, log: Log): DriverOptions {
  const shared = sharedPorts(config);
  return { ...config, shared, baseEnv: passedOnFrom(env), nodePath: process.execPath, log };
}

/** What addresses that we give out lead to, as of now, and what was asked for. */
export function sharedPorts({ home, hostPorts }: Config): readonly number[] {
  const { api, http, postgres } = rememberedPorts(home);
  return [...new Set([api, http, postgres, ...hostPorts].filter(port => port !== undefined))];
}

// --- internal -----------------------------------------------------------------------------------

const passedOn = ['PATH', 'HOME', 'LANG', 'TMPDIR', 'TZ'] as const;
