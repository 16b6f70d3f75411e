/** All drivers of a cluster, with locks and deadlines around those that have none. */
import type { ClusterClient } from '../../kubernetes/client.ts';
import type { InformerOptions } from '../../kubernetes/informer.ts';
import type { Log } from '../../lib/log.ts';
import type { StepDriver, WorkloadDriver } from '../contract.ts';
import { guard } from '../guarded.ts';
import { openClusterForks } from './forks.ts';
import { openClusterSteps } from './steps.ts';

export type ClusterDrivers = {
  readonly workloads: WorkloadDriver;
  readonly steps: StepDriver;
  close(): Promise<void>;
};

export type ClusterDriverOptions = {
  readonly client: ClusterClient;
  /** Its namespace names it. */
  readonly installation: string;
  /** Where forks may be; undefined: everywhere. */
  readonly namespaces: readonly string[] | undefined;
  readonly informers?: Pick<InformerOptions<unknown>, 'idleMs' | 'relistMs' | 'pauseMs'>;
  /** Further ones where plugins may run their steps. */
  readonly runnerNamespaces: readonly string[];
  /** Ours, for what runs beside a step. */
  readonly image: string;
  /** Milliseconds that a step may take; its Job ends by itself only when nobody asks for it any more. */
  readonly stepMs: number;
  readonly log: Log;
};

/** Resolves when all that is there of the installation's is known. */
export async function openClusterDrivers(options: ClusterDriverOptions): Promise<ClusterDrivers> {
  const { log } = options;
  const forks = await openClusterForks(options);
  const { client, installation, image, stepMs, runnerNamespaces } = options;
  const steps = openClusterSteps({
    ...{ client, installation, image, log, namespace: installation, longestMs: 2 * stepMs },
    namespaces: runnerNamespaces,
  });
  return {
    workloads: guard(forks, {
      log,
      deadlines: { observe: MINUTE / 4, ensure: MINUTE, remove: 3 * MINUTE, list: MINUTE / 2 },
    }),
    steps,
    async close() {
      await Promise.all([forks.close(), steps.close()]);
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

const MINUTE = 60_000;
