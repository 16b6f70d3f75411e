/** What the API's routes may use. It decides nothing: HTTP in, store out. */
import type { PreviewSite } from '../model/endpoint.ts';
import type { Address, RouteSource } from '../model/route.ts';
import type { Store } from '../store/contract.ts';
import type { Keyring } from './keys.ts';

export type Doctor = readonly {
  readonly area: string;
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}[];

export type DaemonInfo = {
  readonly version: string;
  readonly pid: number;
  readonly home: string;
  readonly startedAt: string;
  readonly volumes: { readonly driver: string; readonly copyOnWrite: boolean; readonly why: string };
  readonly api: Address;
  readonly preview: PreviewSite;
  readonly postgres: Address;
  readonly log: string;
  readonly leftovers: readonly string[];
};

export type LogQuery = {
  readonly namespace: string;
  readonly workload: string;
  readonly sandbox?: string;
  readonly lines: number;
};

export type ApiContext = {
  readonly store: Store;
  readonly keys: Keyring;
  readonly routes: RouteSource;
  readonly info: () => DaemonInfo;
  readonly gateway: () => Address;
  readonly doctor: () => Promise<Doctor>;
  readonly logs: (query: LogQuery) => Promise<readonly string[]>;
  /** Starts the daemon's end; returns at once. */
  readonly shutdown: () => void;
};
