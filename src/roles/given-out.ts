/** Addresses that are given out, and to whom they say what. */
import type { Socket } from 'node:net';
import type { ApiContext } from '../api/context.ts';
import type { Config } from '../config.ts';
import type { Encryption } from '../encryption.ts';
import { isLoopback, isOnThisMachine } from '../lib/peer.ts';
import type { PreviewSite } from '../model/endpoint.ts';
import { type ErrorParams, OffshootError } from '../model/errors.ts';
import type { Address } from '../model/route.ts';

export type Gateways = { readonly previews: Address; readonly postgres: Address };

export type GivenOut = {
  readonly site: () => PreviewSite;
  readonly postgres: ApiContext['gateway'];
  /** The same port under the name that clients know us by. */
  readonly advertise: (address: Address) => Address;
};

/** @param gateways where they listen, as of now */
export function givenOut(config: Config, scheme: Encryption['scheme'], gateways: () => Gateways): GivenOut {
  const advertise = ({ port }: Address): Address => ({ host: config.advertised, port });
  const mustEncrypt = !isLoopback(config.advertised) && !config.cleartext;
  return {
    advertise,
    site: () => ({ domain: config.domain, scheme, port: gateways().previews.port }),
    postgres: () => ({
      ...advertise(gateways().postgres),
      ...(mustEncrypt && { sslmode: 'require' as const }),
    }),
  };
}

/**
 * For programs of this machine. To them the API speaks clear text also where it asks TLS of others, so nobody has to
 * trust a certificate in order to talk to himself.
 */
export const nearUrl = ({ host }: Config, { port }: Address): string =>
  `http://${/^0+(\.0+)*$/.test(host) ? '127.0.0.1' : host}:${port}`;

/** How the API is entered. */
export const door = ({ host, advertised, cleartext }: Config, { api }: Encryption) => ({
  names: [host, advertised],
  ...(api !== undefined && { certificate: () => api.current() }),
  clear: (peer: Socket) => cleartext || isOnThisMachine(peer),
});

export const nowhere = ({ host }: Config): Address => ({ host, port: 0 });

/** Says which variable is to blame when `open` cannot listen; servers do not know their names. */
export async function naming<T>({ host }: Config, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    const error = cause as { readonly code?: string; readonly params?: ErrorParams };
    if (error.code === 'host/port-taken') {
      const variable = portVariables[String(error.params?.what)];
      throw new OffshootError('host/port-taken', { ...error.params, variable }, { cause });
    }
    const why =
      hostProblems[error.code === 'proxy/listen-failed' ? String(error.params?.why) : (error.code ?? '')];
    if (why === undefined) throw cause;
    throw new OffshootError('config/invalid', { name: 'OFFSHOOT_HOST', value: host, why }, { cause });
  }
}

// --- internal -----------------------------------------------------------------------------------

/** By what listens. */
const portVariables: Readonly<Record<string, string>> = {
  'the API': 'OFFSHOOT_API_PORT',
  previews: 'OFFSHOOT_HTTP_PORT',
  'the Postgres gateway': 'OFFSHOOT_POSTGRES_PORT',
  followers: 'OFFSHOOT_FEED_PORT',
};

const hostProblems: Readonly<Record<string, string>> = {
  ENOTFOUND: 'there is no such host name',
  EAI_AGAIN: 'the host name could not be looked up',
  EADDRNOTAVAIL: 'this machine has no such address',
};
