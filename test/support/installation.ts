/** Our chart, installed from this checkout with the image of this checkout, in namespaces of a test. */
import { join } from 'node:path';
import { apply, helm, kubectl, namespace, ourImage, read } from './cluster.ts';

export const chart = join(import.meta.dirname, '../../charts/offshoot');

export type Installation = AsyncDisposable & {
  /** Of the controller. */
  readonly namespace: string;
  /** Of the one baseline that it forks. */
  readonly baseline: string;
  /** In the installation's namespace. */
  kubectl(...args: readonly string[]): Promise<string>;
  /** Once more with other values. */
  upgrade(...values: readonly string[]): Promise<void>;
};

const release = 'offshoot';

/**
 * Resolves when all that it starts is ready. Its objects are deleted at the end, while there is somebody to take down what
 * they stand for; and if there is nobody, all the same.
 * @param values as helm's arguments, e.g. `--set`, `gateway.replicas=2`
 */
export async function installation(...values: readonly string[]): Promise<Installation> {
  await using stack = new AsyncDisposableStack();
  const [own, baseline] = [stack.use(await namespace()), stack.use(await namespace())];
  const at = ['-n', own.name];
  const run = async (verb: string, more: readonly string[]): Promise<void> => {
    const namespaces = ['--set-json', `baselineNamespaces=["${baseline.name}"]`];
    const waiting = ['--skip-crds', '--wait', '--timeout', '240s'];
    await helm([
      verb,
      release,
      chart,
      ...at,
      ...imageValues(),
      ...namespaces,
      ...values,
      ...more,
      ...waiting,
    ]);
  };
  // What has no namespace goes with it.
  stack.defer(async () => void (await helm(['uninstall', release, ...at, '--ignore-not-found'])));
  stack.defer(() => removeObjects(own.name));
  await run('install', []);
  const rest = stack.move();
  return {
    ...{ namespace: own.name, baseline: baseline.name },
    kubectl: async (...args) => (await kubectl([...at, ...args])).stdout,
    upgrade: (...more) => run('upgrade', more),
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

/** Of our image, as helm's arguments. */
export function imageValues(): readonly string[] {
  const colon = ourImage.lastIndexOf(':');
  return [
    ...['--set', `image.repository=${ourImage.slice(0, colon)}`],
    ...['--set-string', `image.tag=${ourImage.slice(colon + 1)}`],
  ];
}

/** A Deployment `users` with a Service, which answers with its LOG_LEVEL and the WORD that it is given. */
export const applyUsers = (namespace: string, word = 'v1') =>
  apply([users(namespace, word), service(namespace)]);

/** A sandbox `name` with a fork of `users` that has another LOG_LEVEL, and the endpoint `api` to its Service. */
export const sandboxOfUsers = (at: Pick<Installation, 'namespace' | 'baseline'>, name = 'fix') => ({
  apiVersion: 'offshoot.dev/v1alpha1',
  kind: 'Sandbox',
  metadata: { name, namespace: at.namespace },
  spec: {
    cluster: 'local',
    forks: [
      {
        forkOf: { kind: 'Deployment', namespace: at.baseline, name: 'users' },
        customizations: { env: [{ name: 'LOG_LEVEL', value: 'debug' }] },
      },
    ],
    defaultRouteGroup: { endpoints: [{ name: 'api', target: `http://users.${at.baseline}.svc:80` }] },
  },
});

/**
 * What the preview `host` answers by the gateway's Service, asked from a pod of the baseline: this machine may have no way to
 * addresses of the cluster. `STATUS BODY`
 */
export async function preview(c: Installation, host: string, key: string): Promise<string> {
  const script = `require('node:http').get(
    { host: 'offshoot-gateway.${c.namespace}.svc', headers: { host: '${host}', 'offshoot-api-key': '${key}' } },
    answer => { process.stdout.write(answer.statusCode + ' '); answer.pipe(process.stdout); })`;
  await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=240s']);
  const at = ['-n', c.baseline, 'exec', 'deployment/users', '--'];
  return (await kubectl([...at, 'node', '-e', script])).stdout;
}

/** All of forks that is there, by kind and name, pods as well. */
export async function forksIn(namespace: string): Promise<readonly string[]> {
  const kinds = 'deployments,replicasets,pods,services,secrets';
  const { items } = await read<Items>('-n', namespace, 'get', kinds, '-l', 'offshoot.dev/fork');
  return items.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
}

// --- internal ------------------------------------------------------------------------------------

type Items = {
  readonly items: readonly { readonly kind: string; readonly metadata: { readonly name: string } }[];
};

export async function removeObjects(namespace: string): Promise<void> {
  const kinds = 'sandboxes.offshoot.dev,branches.offshoot.dev,projects.offshoot.dev';
  try {
    await kubectl(['-n', namespace, 'delete', kinds, '--all', '--timeout=240s']);
  } catch {
    const { items } = await read<Items>('-n', namespace, 'get', kinds);
    const free = ({ kind, metadata }: Items['items'][number]) => [
      ...['-n', namespace, 'patch', `${kind.toLowerCase()}.offshoot.dev`, metadata.name],
      ...['--type=merge', '-p', '{"metadata":{"finalizers":null}}'],
    ];
    // One that has gone meanwhile is as good.
    await Promise.allSettled(items.map(item => kubectl(free(item))));
  }
}

const users = (namespace: string, word: string) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'users', namespace, labels: { app: 'users' } },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: 'users' } },
    template: {
      metadata: { labels: { app: 'users' }, annotations: { 'sidecar.offshoot.dev/inject': 'true' } },
      spec: {
        terminationGracePeriodSeconds: 2,
        containers: [
          {
            ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent' },
            command: ['node', '-e', program],
            env: [
              { name: 'LOG_LEVEL', value: 'info' },
              { name: 'WORD', value: word },
            ],
            ports: [{ containerPort: 8080 }],
            readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
          },
        ],
      },
    },
  },
});

const program = `
  const { LOG_LEVEL, WORD } = process.env;
  require('node:http').createServer((_, answer) => answer.end(LOG_LEVEL + ' ' + WORD)).listen(8080, () => console.log('listens, ' + LOG_LEVEL));
  process.on('SIGTERM', () => process.exit());
`;

const service = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'users', namespace },
  spec: { selector: { app: 'users' }, ports: [{ port: 80, targetPort: 8080 }] },
});
