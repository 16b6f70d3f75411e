/** Memory of our containers, as the cluster counts it: a sidecar that nobody asks, and a controller with many sandboxes. */
import { clusterClient } from '../src/kubernetes/client.ts';
import { type KubernetesObject, resources } from '../src/kubernetes/resource.ts';
import { until } from '../src/lib/wait.ts';
import { clusterAccess } from '../src/roles/reachable.ts';
import { apply, contextName, kubectl, read } from '../test/support/cluster.ts';
import { type Installation, sandboxOfUsers } from '../test/support/installation.ts';
import { users } from './kubernetes-sandboxes.ts';
import { type Row, summarise } from './statistics.ts';

/** @param sandboxes whose forks have pods that no node runs, and that are said to be ready: no lab holds so many */
export async function memoryRows(c: Installation, sandboxes: number): Promise<readonly Row[]> {
  await users(c);
  await kubectl(['-n', c.baseline, 'rollout', 'restart', 'deployment/users']);
  await kubectl(['-n', c.baseline, 'rollout', 'status', 'deployment/users', '--timeout=120s']);
  const sidecar = await settled(c.baseline, 'app=users', 'offshoot-sidecar');
  const before = await settled(c.namespace, CONTROLLER, 'controller');
  const names = Array.from({ length: sandboxes }, (_, i) => `many${i}`);
  await apply(names.map(name => withoutNode(sandboxOfUsers(c, name))));
  const ready = await allReady(c, sandboxes);
  const after = await settled(c.namespace, CONTROLLER, 'controller');
  // While there is somebody to take them down, and all at once.
  await c.kubectl('delete', 'sandboxes', '--all', '--timeout=240s');
  const row = (what: string, mb: number, p50?: number): Row => ({
    ...{ what, unit: 'MB', summary: summarise([mb]), ...(p50 !== undefined && { goal: { p50 } }) },
  });
  return [
    row('sidecar that nobody asks, without cache of files', sidecar.own, 60),
    row('the same, resident (with pages of Node that all share)', sidecar.resident),
    row('controller without a sandbox, resident', before.resident),
    row(`controller with ${ready} sandboxes that are ready, resident`, after.resident, 200),
    row('the same, without cache of files', after.own),
  ];
}

// --- internal ------------------------------------------------------------------------------------

const CONTROLLER = 'app.kubernetes.io/component=controller';
const FORK = 'offshoot.dev/fork';

type Memory = { readonly own: number; readonly resident: number };

/** Medians of a few looks, in MB (2^20 bytes): of the control group what is not cache of files, of process 1 VmRSS. */
async function settled(namespace: string, selector: string, container: string): Promise<Memory> {
  const looks: Memory[] = [];
  for (let i = 0; i < 5; i++) {
    const pods = await read<{ items: KubernetesObject[] }>('-n', namespace, 'get', 'pods', '-l', selector);
    const pod = pods.items.find(({ metadata }) => metadata.deletionTimestamp === undefined)!;
    const at = ['-n', namespace, 'exec', pod.metadata.name, '-c', container, '--', 'sh', '-c', LOOK];
    const [own = 0, kib = 0] = (await kubectl(at)).stdout.trim().split(/\s+/).map(Number);
    looks.push({ own: own / 2 ** 20, resident: kib / 2 ** 10 });
  }
  const median = (of: (look: Memory) => number) => summarise(looks.map(of)).p50;
  return { own: median(look => look.own), resident: median(look => look.resident) };
}

/**
 * Bytes of a control group of the first or second version without its cache of files (in a container it is what is mounted), and KiB of VmRSS. The
 * shell that looks is in that group as well: some hundred KiB.
 */
const LOOK = `m=/sys/fs/cgroup/memory; if [ -e $m/memory.usage_in_bytes ]
  then echo $(($(cat $m/memory.usage_in_bytes) - $(grep '^total_cache ' $m/memory.stat | cut -d' ' -f2)))
  else echo $(($(cat /sys/fs/cgroup/memory.current) - $(grep '^file ' /sys/fs/cgroup/memory.stat | cut -d' ' -f2))); fi
  grep VmRSS /proc/1/status | tr -s '\t ' ' ' | cut -d' ' -f2`;

/** Its fork is given to a scheduler that nobody is. */
function withoutNode(sandbox: ReturnType<typeof sandboxOfUsers>): object {
  const value = JSON.stringify({ spec: { template: { spec: { schedulerName: 'nobody' } } } });
  const [fork] = sandbox.spec.forks;
  const customizations = { ...fork!.customizations, patch: { type: 'strategic', value } };
  return { ...sandbox, spec: { ...sandbox.spec, forks: [{ ...fork, customizations }] } };
}

/** Says of each pod of a fork that it is ready, as a node would. @returns how many sandboxes are then */
async function allReady(c: Installation, sandboxes: number): Promise<number> {
  const client = clusterClient(await clusterAccess(process.env, contextName));
  const said = new Set<string>();
  try {
    return await until(
      async () => {
        for await (const { items } of client.pages(
          resources.Pod,
          { namespace: c.baseline },
          { labelSelector: FORK },
        ))
          for (const pod of items) {
            if (said.has(pod.metadata.uid!)) continue;
            const changed = { ...pod, status: statusOf(said.size) };
            await client.replace(resources.Pod, changed, { subresource: 'status' }).then(
              () => said.add(pod.metadata.uid!),
              () => {}, // changed meanwhile: the next look
            );
          }
        const all = await read<{ items: Sandbox[] }>('-n', c.namespace, 'get', 'sandboxes');
        const ready = all.items.filter(({ status }) =>
          status?.conditions?.some(one => one.type === 'Ready' && one.status === 'True'),
        );
        return ready.length === sandboxes ? sandboxes : undefined;
      },
      { what: 'all sandboxes are ready', deadlineMs: 240_000, intervalMs: 500 },
    );
  } finally {
    client.close();
  }
}

type Sandbox = {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
};

function statusOf(number: number): object {
  const podIP = `198.18.${number >> 8}.${number & 255}`;
  const at = new Date().toISOString();
  const conditions = ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map(type => ({
    ...{ type, status: 'True', lastTransitionTime: at },
  }));
  const state = { running: { startedAt: at } };
  const main = {
    name: 'main',
    ready: true,
    restartCount: 0,
    image: 'none',
    imageID: 'none',
    started: true,
    state,
  };
  return {
    phase: 'Running',
    podIP,
    podIPs: [{ ip: podIP }],
    startTime: at,
    conditions,
    containerStatuses: [main],
  };
}
