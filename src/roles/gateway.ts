/** A gateway apart: previews and Postgres for whoever reaches it, by what a daemon elsewhere tells. */
import type { Config } from '../config.ts';
import { openEncryption } from '../encryption.ts';
import { openLog } from '../log-output.ts';
import type { Address, RouteChange } from '../model/route.ts';
import { type IdentityFrom, openIdentity } from '../proxy/stream/token-identity.ts';
import { networkWay } from '../proxy/stream/way.ts';
import { runProxy } from '../serving.ts';
import { lockHome } from './home-lock.ts';

export type GatewayOptions = {
  readonly controller: Address;
  readonly identity: IdentityFrom;
  readonly signal: AbortSignal;
};

/**
 * Serves until the signal aborts. Its data directory is its own: the last table is kept there, and certificates if it
 * is given none.
 * @throws OffshootError host/already-running, host/certificate; an error when the identity cannot be read
 */
export async function runGateway(
  config: Config,
  { controller, signal, ...o }: GatewayOptions,
): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const log = openLog(undefined, config.logLevel);
  const identity = openIdentity(o.identity, controller, log);
  opened.defer(() => identity.close());
  await lockHome(config, opened);
  const encryption = openEncryption(config, log);
  opened.defer(() => encryption.close());
  const { home, runtimeDir, logLevel } = config;
  const apart = {
    ...{ way: networkWay(controller, identity), identity },
    ...{ own: listenersOf(config), tls: encryption.files },
  };
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
