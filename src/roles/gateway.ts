/** A gateway apart: previews and Postgres for whoever reaches it, by what a daemon elsewhere tells. */
import type { Config } from '../config.ts';
import { openEncryption } from '../encryption.ts';
import { readIdentity } from '../lib/identity.ts';
import { openLog } from '../log-output.ts';
import type { Address, RouteChange } from '../model/route.ts';
import { networkWay } from '../proxy/stream/way.ts';
import { runProxy } from '../serving.ts';
import { lockHome } from './home-lock.ts';

export type GatewayOptions = {
  readonly controller: Address;
  /** File, see lib/identity.ts. */
  readonly identity: string;
  readonly signal: AbortSignal;
};

/**
 * Serves until the signal aborts. Its data directory is its own: the last table is kept there, and certificates if it
 * is given none.
 * @throws OffshootError host/already-running, host/certificate; an error when the identity cannot be read
 */
export async function runGateway(
  config: Config,
  { controller, identity, signal }: GatewayOptions,
): Promise<void> {
  readIdentity(identity);
  await using opened = new AsyncDisposableStack();
  await lockHome(config, opened);
  const encryption = openEncryption(config, openLog(undefined, config.logLevel));
  opened.defer(() => encryption.close());
  const { home, runtimeDir, logLevel } = config;
  const apart = { way: networkWay(controller, identity), own: listenersOf(config), tls: encryption.files };
  await runProxy({ home, runtimeDir, logLevel, signal, apart });
}

// --- internal -----------------------------------------------------------------------------------

const listenersOf = ({ host, httpPort, postgresPort, cleartext }: Config): readonly RouteChange[] =>
  (
    [
      ['previews', httpPort],
      ['postgres', postgresPort],
    ] as const
  ).map(([name, port]) => ({
    ...{ kind: 'listener', name },
    value: { host, port, serves: name, ...(!cleartext && { encrypted: true }) },
  }));
