/**
 * Where the tests in `test/both` run: one machine in `npm test`, a cluster in `npm run test:kubernetes`. Both have a small service
 * as their baseline, which says what it was given.
 */
import type { RunCli } from '../../scripts/demo/cli.ts';
import type { Answer } from '../../scripts/demo/http.ts';
import { noCluster } from './cluster.ts';

/** What the service says. */
export type Said = {
  /** Of the baseline, or as a fork has changed it. */
  readonly word: string;
  /** What a fork got of a plugin; null in the baseline. */
  readonly tenant: string | null;
  readonly sandbox: string | null;
};

export type Asked = {
  readonly headers?: Readonly<Record<string, string>>;
};

export type Place = AsyncDisposable & {
  /** `offshoot …`, as somebody who may do everything. */
  readonly cli: RunCli;
  /** Namespace of the baseline, in which the Deployment and the Service `echo` are. */
  readonly namespace: string;
  /** The port that the Service has, and the program, too. */
  readonly port: number;
  /** Asks the Service, as another program of the baseline does. */
  ask(asked?: Asked): Promise<Answer>;
  /** Asks one address, e.g. of a fork. */
  askAt(at: { readonly host: string; readonly port: number }): Promise<Answer>;
  /** All that is there of sandboxes and their resources, by kind and name: processes or objects. */
  left(): Promise<readonly string[]>;
  /** The user's own, as text: nobody changes it. */
  own(): Promise<string>;
  /** Kills what decides, as a power cut does, and returns when the next one is there. */
  kill(): Promise<void>;
};

/** Which one it is in this run. */
export const placeName = noCluster === false ? 'a cluster' : 'one machine';

export async function openPlace(): Promise<Place> {
  if (noCluster === false) return (await import('./place-cluster.ts')).clusterPlace();
  return (await import('./place-machine.ts')).machinePlace();
}

/** The service. It ends when it is told to. */
export const program = `
  const { WORD = '', TENANT = null, SIGNADOT_SANDBOX_NAME = null, PORT = 8080 } = process.env;
  const said = JSON.stringify({ word: WORD, tenant: TENANT, sandbox: SIGNADOT_SANDBOX_NAME });
  require('node:http').createServer((_, answer) => answer.end(said)).listen(PORT);
  process.on('SIGTERM', () => process.exit());
`;

/** Its Deployment and Service. @param container what differs between places */
export const echo = (namespace: string, container: object) => [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'echo', namespace, annotations: { 'sidecar.offshoot.dev/inject': 'true' } },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: 'echo' } },
      template: {
        metadata: { labels: { app: 'echo' }, annotations: { 'sidecar.offshoot.dev/inject': 'true' } },
        spec: {
          terminationGracePeriodSeconds: 5,
          containers: [
            {
              ...{ name: 'main', imagePullPolicy: 'IfNotPresent', ...container },
              env: [{ name: 'WORD', value: 'baseline' }],
              ports: [{ containerPort: 8080 }],
              readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            },
          ],
        },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'echo', namespace },
    spec: { selector: { app: 'echo' }, ports: [{ port: 8080, targetPort: 8080 }] },
  },
];
