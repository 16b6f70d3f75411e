/** A pod of the baseline's namespace that asks for us: this machine may have no way to addresses of the cluster. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { apply, contextName, kubectl, ourImage } from '../test/support/cluster.ts';

export type Asker = AsyncDisposable & {
  /** Runs the body of an async function (it may `require`) in the pod, with `given`. @returns what it returns */
  run<T>(body: string, given?: unknown): Promise<T>;
};

/** @param namespace where its pod `asker` is made */
export async function asker(namespace: string): Promise<Asker> {
  await apply([pod(namespace)]);
  await kubectl(['-n', namespace, 'wait', 'pod/asker', '--for=condition=Ready', '--timeout=120s']);
  const context = contextName === undefined ? [] : ['--context', contextName];
  const args = [...context, '-n', namespace, 'exec', '-i', 'asker', '--', 'node', '-e', LOOP];
  const child = spawn('kubectl', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  const ended = once(child, 'close').then(() => {
    throw new Error('the pod that asks has ended');
  });
  ended.catch(() => {}); // told by who waits
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async run<T>(body: string, given?: unknown) {
      child.stdin.write(`${JSON.stringify({ body, given })}\n`);
      const { value } = await Promise.race([lines.next(), ended]);
      const { error, result } = JSON.parse(value ?? '{"error":"it has said nothing"}');
      if (error !== undefined) throw new Error(error);
      return result as T;
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await once(child, 'close');
    },
  };
}

// --- internal ------------------------------------------------------------------------------------

const LOOP = `
  require('node:readline').createInterface({ input: process.stdin }).on('line', async line => {
    const { body, given } = JSON.parse(line);
    const work = new (async () => {}).constructor('require', 'given', body);
    const said = await work(require, given).then(result => ({ result }), error => ({ error: error.stack }));
    console.log(JSON.stringify(said));
  });
`;

const pod = (namespace: string) => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'asker', namespace } },
  spec: {
    terminationGracePeriodSeconds: 1,
    containers: [
      {
        ...{ name: 'main', image: ourImage, imagePullPolicy: 'IfNotPresent' },
        command: ['node', '-e', 'process.on("SIGTERM", () => process.exit()); setInterval(() => {}, 1e9)'],
      },
    ],
  },
});
