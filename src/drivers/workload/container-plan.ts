/** From a container of a manifest to a process: what runs, with which environment, probes and hooks. Pure. */
import { isAbsolute, resolve } from 'node:path';
import type { Limits } from '../../lib/cgroups.ts';
import { expandCommand, resolveEnv } from '../../model/container-env.ts';
import type { ImageSpec, Runtime } from '../../model/image.ts';
import type { Container } from '../../model/kubernetes.ts';
import { imageKeyFor } from '../../model/offshoot-config.ts';
import { withGivenMeta } from '../../model/pod-meta.ts';
import { readQuantity } from '../../model/quantity.ts';
import type { Node } from '../../model/resource-field.ts';
import { declaredPorts, listenerOf } from '../../model/workload-ports.ts';
import type { WorkloadSpec } from '../contract.ts';
import { runnerOf } from '../runner-of.ts';
import { type CodePlan, codeOf } from './code.ts';
import type { Probes } from './health.ts';
import { type Hooks, planHooks } from './hook.ts';
import { type ImagePlan, planImage } from './image-plan.ts';
import type { Problem, Where } from './plan.ts';
import { connects, planProbes } from './probe-plan.ts';
import { commandHere, hooksHere, probesHere } from './programs.ts';
import { standIn } from './stand-in.ts';
import { type MountPlan, planMounts, type VolumePlan } from './volume-plan.ts';

/** An init container runs to its end before the next one starts; a sidecar starts in the same order, and stays. */
export type Role = 'init' | 'sidecar' | 'main';

/** One container of a pod. Complete but for what is chosen when the pod starts: see stand-in.ts. */
export type ContainerPlan = {
  readonly name: string;
  readonly role: Role;
  /** Program first. */
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Of image and manifest; goes over `network`. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that name services of the baseline. */
  readonly network: Readonly<Record<string, string>>;
  readonly containerPorts: readonly number[];
  readonly probes: Probes;
  readonly hooks: Hooks;
  readonly mounts: readonly MountPlan[];
  readonly limits?: Limits;
  /** It runs in a container engine; absent: as a process of this machine. */
  readonly image?: ImagePlan;
  /** The user's own, which goes before ours. */
  readonly runtime?: Runtime;
  /** The folder that it runs from. */
  readonly code?: CodePlan;
};

export function planContainer(
  spec: WorkloadSpec,
  container: Container,
  role: Role,
  volumes: readonly VolumePlan[],
  { node, networks, engine }: Where,
): ContainerPlan | Problem {
  const runner = runnerOf(spec.images, container.image, engine);
  if ('why' in runner) return imageUnknown(container, runner.why);
  const image = 'entry' in runner ? runner.entry : undefined;
  // The API refuses probes and hooks of init containers that are no sidecars; they could have no effect.
  const asked = role === 'init' ? withoutProbes(container) : container;
  const planned = planProbes(asked);
  if ('wrong' in planned) return configError(container, planned.wrong);
  const hooks = planHooks(asked);
  if (typeof hooks === 'string') return configError(container, hooks);
  const tcpPorts = portsOf(spec, asked, role, planned.ports);
  const [firstPort] = tcpPorts;
  // In a network of its own nobody has to know them.
  const udpPorts = networks ? [] : declaredPorts(container, 'UDP');
  const containerPorts = [...new Set([...tcpPorts, ...udpPorts])];
  const { env, missing } = environment(spec, container, { node, networks, image, containerPorts });
  if (missing.length > 0) return configError(container, `its environment lacks ${missing.join(', ')}`);
  const limits = limitsOf(container);
  if (typeof limits === 'string') return configError(container, limits);
  const mounts = planMounts(container, volumes, env);
  if (typeof mounts === 'string') return configError(container, mounts);
  const probes = image === undefined ? planned.probes : probesHere(planned.probes, image);
  // What is asked by Services is a main container, so only that is waited for until it listens.
  const listens = role === 'main' && firstPort !== undefined;
  return {
    name: container.name,
    role,
    ...(image === undefined
      ? {
          ...{ argv: [], cwd: '/' },
          image: planImage(spec.workload, container, { ...spec.network.env, ...env }),
        }
      : {
          argv: [...expandCommand(commandOf(container, image), { ...spec.network.env, ...env })],
          cwd: workingDir(container, image, mounts),
        }),
    env,
    network: spec.network.env,
    containerPorts,
    probes: listens ? { readiness: connects(firstPort), ...probes } : probes,
    hooks: image === undefined ? hooks : hooksHere(hooks, image),
    mounts,
    ...(limits && { limits }),
    ...(image !== undefined && { code: codeOf(image), ...(image.runtime && { runtime: image.runtime }) }),
  };
}

// --- internal -----------------------------------------------------------------------------------

type Setting = {
  readonly node: Node;
  readonly networks: boolean;
  /** Absent: its own image brings its variables. */
  readonly image: ImageSpec | undefined;
  readonly containerPorts: readonly number[];
};

function withoutProbes(container: Container): Container {
  const { readinessProbe, livenessProbe, startupProbe, lifecycle, ...rest } = container;
  return rest as Container;
}

/**
 * Requests are for schedulers; where everything runs on one machine there is nothing to schedule. A limit of zero is none.
 * @returns a string when one is no quantity: patches of sandboxes may say anything
 */
function limitsOf({ resources }: Container): Limits | undefined | string {
  const { memory = 0, cpu = 0 } = resources?.limits ?? {};
  const [memoryBytes, cpus] = [readQuantity(memory), readQuantity(cpu)];
  if (memoryBytes === undefined) return `its limit of memory "${memory}" is no quantity`;
  if (cpus === undefined) return `its limit of CPU "${cpu}" is no quantity`;
  if (memoryBytes === 0 && cpus === 0) return undefined;
  return { ...(memoryBytes > 0 && { memoryBytes: Math.ceil(memoryBytes) }), ...(cpus > 0 && { cpus }) };
}

/** TCP ports; the first becomes `$PORT`: one that is declared, else the one that a Service sends to. */
function portsOf(
  { workload, network }: WorkloadSpec,
  container: Container,
  role: Role,
  probed: readonly number[],
): readonly number[] {
  const { containers } = workload.spec.template.spec;
  const served =
    role === 'main'
      ? network.ports.filter(port => listenerOf(port, containers)?.name === container.name)
      : [];
  return [...new Set([...declaredPorts(container), ...served, ...probed])];
}

/** As in Kubernetes, `command` replaces the entry point of the image and with it the arguments of the image; an empty list is none. */
function commandOf({ command = [], args = [] }: Container, image: ImageSpec): readonly string[] {
  if (command.length > 0) return [...commandHere(command, image), ...args];
  return [...image.command, ...(args.length > 0 ? args : (image.args ?? []))];
}

/**
 * An absolute `workingDir` is a path inside the image, and `dir` stands for the image's working directory; unless
 * something is mounted there.
 */
function workingDir(
  { workingDir = '.' }: Container,
  { dir }: ImageSpec,
  mounts: readonly MountPlan[],
): string {
  if (!isAbsolute(workingDir)) return resolve(dir, workingDir);
  const isMounted = mounts.some(({ path }) => workingDir === path || workingDir.startsWith(`${path}/`));
  return isMounted ? workingDir : dir;
}

/**
 * From weak to strong: the services' variables, the pod's name, the image's, `envFrom`, `env`. Our ports are weak
 * where a pod has a network of its own, and win elsewhere: a port that is fixed in a manifest cannot be listened on
 * twice on one machine.
 */
function environment(
  { workload, refs, network }: WorkloadSpec,
  container: Container,
  { node, networks, image, containerPorts }: Setting,
): { readonly env: Readonly<Record<string, string>>; readonly missing: readonly string[] } {
  const { spec } = workload;
  // An image knows its ports, as in a cluster.
  const ports = networks && image === undefined ? [] : portVariables(container, containerPorts);
  const own = (container.env ?? []).filter(({ name }) => networks || ports.every(port => port.name !== name));
  const weak = networks ? Object.fromEntries(ports.map(({ name, value }) => [name, value])) : {};
  const given = {
    ...weak,
    HOSTNAME: spec.template.spec.hostname || standIn('name'),
    ...(workload.spec.completionMode === 'Indexed' && { JOB_COMPLETION_INDEX: standIn('index') }),
    ...image?.env,
  };
  const { env, missing } = resolveEnv(
    { ...container, env: [...(networks ? [] : ports), ...own] },
    withGivenMeta(workload, { name: standIn('name'), index: standIn('index') }),
    refs,
    { name: standIn('name'), uid: standIn('uid'), ip: standIn('ip'), node, spec: spec.template.spec },
    { ...network.env, ...given },
  );
  return { env: { ...given, ...env }, missing };
}

/** First, because what comes later may refer to them. */
function portVariables(container: Container, ports: readonly number[]): { name: string; value: string }[] {
  const variables = ports.slice(0, 1).map(port => ({ name: 'PORT', value: standIn(port) }));
  for (const port of ports) {
    variables.push({ name: `PORT_${port}`, value: standIn(port) });
    const name = container.ports?.find(p => p.containerPort === port)?.name;
    if (name !== undefined)
      variables.push({ name: `PORT_${name.toUpperCase().replaceAll('-', '_')}`, value: standIn(port) });
  }
  return variables;
}

const imageUnknown = ({ name, image }: Container, why: string): Problem => ({
  reason: 'ImageUnknown',
  message:
    `container "${name}": offshoot.yaml does not say how the image "${image}" runs here; ` +
    `add  images: {"${imageKeyFor(image)}": {dir: FOLDER, command: [PROGRAM, ARGUMENT]}}` +
    `; or start a container engine: ${why}`,
});

const configError = ({ name }: Container, what: string): Problem => ({
  reason: 'ConfigError',
  message: `container "${name}": ${what}`,
});
