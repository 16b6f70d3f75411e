/** The cluster that tests run on: somebody's own, or one of the lab. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from '../../src/lib/exec.ts';
import { root } from '../checks.ts';
import { packExample, packImage } from './image.ts';
import { labHome, openLab } from './lab.ts';

export type Cluster = AsyncDisposable & {
  readonly name: string;
  /** For the tests: KUBECONFIG, OFFSHOOT_KUBERNETES, OFFSHOOT_TEST_RUN, PATH, and OFFSHOOT_IMAGE where there is our image in it. */
  readonly env: Readonly<Record<string, string>>;
  /** What tests have left in it, as a text; undefined: nothing. */
  leftovers(): Promise<string | undefined>;
  /** What is left of it on this machine when it is down; undefined: it stays, and others use this machine as well. */
  traces(): readonly string[] | undefined;
};

/** With the run that it belongs to, on namespaces of tests, and on what they make outside of those. */
export const testLabel = 'offshoot.test/run';

/** @returns the cluster, or why there is none. @throws NoLab when the one that was named cannot be had */
export async function chooseCluster(
  say: (sentence: string) => void,
  signal: AbortSignal,
): Promise<Cluster | string> {
  const { OFFSHOOT_KUBERNETES: named, OFFSHOOT_LAB: folder, KUBECONFIG } = process.env;
  const OFFSHOOT_TEST_RUN = randomBytes(4).toString('hex');
  if (named !== undefined && named !== '' && named !== '0') {
    if (KUBECONFIG === undefined) return 'OFFSHOOT_KUBERNETES is set, but KUBECONFIG names no file';
    const env = { KUBECONFIG, OFFSHOOT_KUBERNETES: named, OFFSHOOT_TEST_RUN };
    await clean(env);
    await define(env);
    return {
      name: `${named === '1' ? 'the current context' : `context ${named}`} of ${KUBECONFIG}`,
      env,
      leftovers: () => leftInCluster(env),
      traces: () => undefined,
      async [Symbol.asyncDispose]() {},
    };
  }
  if (folder === undefined || folder === '')
    return 'no cluster was named: set KUBECONFIG and OFFSHOOT_KUBERNETES=1, or OFFSHOOT_LAB to the folder of a lab';
  const lab = await openLab(folder, { home: labHome(), say, signal });
  try {
    const OFFSHOOT_IMAGE = await packImage(lab, say);
    const OFFSHOOT_EXAMPLE_IMAGE = await packExample(lab, say);
    const images = { OFFSHOOT_IMAGE, OFFSHOOT_EXAMPLE_IMAGE };
    const env = { ...lab.env, OFFSHOOT_KUBERNETES: '1', ...images, OFFSHOOT_TEST_RUN };
    if (lab.kept) await clean(env);
    await define(env);
    return {
      name: `lab in ${folder}`,
      env,
      leftovers: () => leftInCluster(env),
      traces: () => (lab.kept ? undefined : tracesOf(lab.home)),
      [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose](),
    };
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

// --- internal ------------------------------------------------------------------------------------

/** Namespaces take a while to go: tests do not wait for it, this does. */
const goneDeadlineMs = 240_000;

const kinds =
  'namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations';
/** No run takes longer: see suite.ts. */
const cutOffMs = 45 * 60_000;

type Environment = Readonly<Record<string, string>>;

/** Deletes what runs that were cut off have left: older than any run lasts. Others may be testing on the same cluster. */
async function clean(env: Environment): Promise<void> {
  const list = JSON.parse(await kubectl(env, 'get', kinds, '-l', testLabel, '-o', 'json')) as {
    readonly items: readonly {
      readonly kind: string;
      readonly metadata: { readonly name: string; readonly creationTimestamp: string };
    }[];
  };
  const old = list.items.filter(
    ({ metadata }) => Date.now() - Date.parse(metadata.creationTimestamp) > cutOffMs,
  );
  for (const { kind, metadata } of old) await kubectl(env, 'delete', kind, metadata.name, '--wait=false');
}

/** Puts the definitions of this checkout into the cluster, where they stay: others may use them, too. */
async function define(env: Environment): Promise<void> {
  await kubectl(env, 'apply', '--server-side', '--force-conflicts', '-f', join(root, 'charts/offshoot/crds'));
  await kubectl(
    env,
    'wait',
    '--for=condition=Established',
    'customresourcedefinitions',
    '--all',
    '--timeout=240s',
  );
}

async function leftInCluster(env: Environment): Promise<string | undefined> {
  const run = `${testLabel}=${env.OFFSHOOT_TEST_RUN}`;
  const wait = `--timeout=${goneDeadlineMs / 1000}s`;
  await kubectl(env, 'wait', '--for=delete', 'namespaces', '-l', run, wait).catch(() => {});
  const left = await kubectl(env, 'get', kinds, '-l', run, '-o', 'name');
  return left === '' ? undefined : left;
}

async function kubectl(env: Environment, ...args: readonly string[]): Promise<string> {
  const { OFFSHOOT_KUBERNETES: context = '1' } = env;
  const { stdout } = await exec('kubectl', [...(context === '1' ? [] : ['--context', context]), ...args], {
    env: { ...process.env, ...env },
    deadlineMs: goneDeadlineMs + 10_000,
  });
  return stdout.trim();
}

/** Processes of its binaries, mounts in its folders, and its network. */
function tracesOf(home: string): readonly string[] {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter(line =>
      line
        .split(' ')
        .slice(0, 2)
        .some(path => path.startsWith(home)),
    )
    .map(line => `mount ${line}`);
  const processes = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && programOf(name).startsWith(join(home, 'bin')))
    .map(pid => `process ${pid} of ${programOf(pid)}`);
  const interfaces = readdirSync('/sys/class/net')
    .filter(name => name.startsWith('olab'))
    .map(name => `interface ${name}`);
  return [...mounts, ...processes, ...interfaces];
}

function programOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}
