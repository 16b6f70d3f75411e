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
  /** Default `/`. */
  readonly path?: string;
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
  /** Asks one address, e.g. of a fork. @param path default `/` */
  askAt(at: { readonly host: string; readonly port: number }, path?: string): Promise<Answer>;
  /** Asks the preview at `url`, as a browser does. */
  askPreview(url: string, asked?: Asked): Promise<Answer>;
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

/**
 * The service. It ends when it is told to. `/words` is what is in the table `t` of its database, after what it is told by `?add=`. PG is
 * where its library is.
 */
export const program = `
  const { WORD = '', TENANT = null, SIGNADOT_SANDBOX_NAME = null, PORT = 8080, DATABASE_URL, PG } = process.env;
  const said = { word: WORD, tenant: TENANT, sandbox: SIGNADOT_SANDBOX_NAME };
  async function words(add) {
    const client = new (require(PG).Client)({ connectionString: DATABASE_URL });
    client.on('error', () => {});
    await client.connect();
    try {
      if (add !== null) await client.query('insert into t values ($1)', [add]);
      return (await client.query('select word from t order by word')).rows.map(row => row.word);
    } finally {
      await client.end();
    }
  }
  require('node:http').createServer((asked, answer) => {
    const { pathname, searchParams } = new URL(asked.url, 'http://x');
    if (pathname !== '/words') return answer.end(JSON.stringify(said));
    words(searchParams.get('add')).then(all => answer.end(JSON.stringify(all)), error => {
      answer.writeHead(500).end(String(error));
    });
  }).listen(PORT);
  process.on('SIGTERM', () => process.exit());
`;

/** What the table of the baseline's own database has. */
export const ownTable = "create table t (word text); insert into t values ('its own')";

/**
 * Its Deployment and Service, and the Secret with the URL of its database.
 * @param container what differs between places
 * @param pg where the service finds the library `pg`
 */
export const echo = (namespace: string, container: object, pg: string, databaseUrl: string) => [
  {
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database', namespace } },
    stringData: { url: databaseUrl },
  },
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
              env: [
                { name: 'WORD', value: 'baseline' },
                { name: 'PG', value: pg },
                { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'database', key: 'url' } } },
              ],
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
