/** The cluster that tests run on, as `npm run test:kubernetes` has chosen it, and its command line. */
import { randomBytes } from 'node:crypto';
import { testLabel } from '../../scripts/kubernetes/cluster.ts';
import { type ExecResult, exec } from '../../src/lib/exec.ts';

const {
  OFFSHOOT_KUBERNETES: named = '',
  OFFSHOOT_IMAGE: image,
  OFFSHOOT_TEST_RUN: run = 'by-hand',
} = process.env;

/** Why there is no cluster for this run; `false`: there is one. As `skip` of a test. */
export const noCluster: string | false =
  named === '' || named === '0' ? 'it needs a cluster: npm run test:kubernetes' : false;

/** The same for our image in it. */
export const noImage: string | false =
  noCluster || (image === undefined ? 'OFFSHOOT_IMAGE names no image of this checkout' : false);

export type RunOptions = { readonly input?: string; readonly deadlineMs?: number };

/** Of the kubeconfig; undefined: its current one. */
export const contextName: string | undefined = named === '1' ? undefined : named;

/** Name of our image; see `noImage`. */
export const ourImage = image ?? '';

/** @throws ExecError with what it said */
export const kubectl = (args: readonly string[], options: RunOptions = {}): Promise<ExecResult> =>
  exec('kubectl', [...(contextName === undefined ? [] : ['--context', contextName]), ...args], {
    deadlineMs: 300_000,
    maxOutput: 4 * 1024 * 1024,
    ...options,
  });

/** The same for helm. */
export const helm = (args: readonly string[]): Promise<ExecResult> =>
  exec('helm', [...(named === '1' ? [] : ['--kube-context', named]), ...args], {
    deadlineMs: 300_000,
    maxOutput: 4 * 1024 * 1024,
  });

/** What `kubectl … -o json` prints. */
export const read = async <T>(...args: readonly string[]): Promise<T> =>
  JSON.parse((await kubectl([...args, '-o', 'json'])).stdout) as T;

/** Applies objects; the API server's word on each, or its refusal as an ExecError. */
export const apply = (objects: readonly object[], ...flags: readonly string[]): Promise<ExecResult> =>
  kubectl(['apply', ...flags, '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
  });

/** Of whatever has no namespace of a test, such as the namespace itself. */
export const testLabels: Readonly<Record<string, string>> = { [testLabel]: run };

/** A namespace that is deleted at the end of its scope, with all that is in it: `await using ns = await namespace()`. */
export async function namespace(): Promise<AsyncDisposable & { readonly name: string }> {
  const name = `offshoot-test-${randomBytes(4).toString('hex')}`;
  await apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: testLabels } }]);
  return {
    name,
    async [Symbol.asyncDispose]() {
      await kubectl(['delete', 'namespace', name, '--wait=false', '--ignore-not-found']);
    },
  };
}
