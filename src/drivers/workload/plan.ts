/** From a workload to processes: what runs where, with which environment and probes. Pure. */
import { createHash } from 'node:crypto';
import { isAbsolute, resolve } from 'node:path';
import type { Limits } from '../../lib/cgroups.ts';
import { expandCommand, resolveEnv } from '../../model/container-env.ts';
import type { ImageMap, ImageSpec } from '../../model/image.ts';
import type { Container } from '../../model/kubernetes.ts';
import { findImage, imageKeyFor } from '../../model/offshoot-config.ts';
import { readQuantity } from '../../model/quantity.ts';
import type { Node } from '../../model/resource-field.ts';
import { declaredPorts, listenerOf } from '../../model/workload-ports.ts';
import type { WorkloadSpec } from '../contract.ts';
import type { Probes } from './health.ts';
import { connects, planProbes } from './probe-plan.ts';

/** One container of one replica. Complete but for the ports, which are chosen when the process starts. */
export type ProcessPlan = {
  readonly container: string;
  /** From 0. */
  readonly replica: number;
  /** Program first. Like `env`, with a stand-in wherever the number of a port belongs: see `withPorts`. */
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Of image and manifest; goes over `network`. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables that name services of the baseline. */
  readonly network: Readonly<Record<string, string>>;
  readonly containerPorts: readonly number[];
  readonly probes: Probes;
  readonly limits?: Limits;
};

/** Why nothing can be started, in the words of `WorkloadSeen`. */
export type Problem = { readonly reason: string; readonly message: string };

export type WorkloadPlan = {
  readonly processes: readonly ProcessPlan[];
  readonly hosts: WorkloadSpec['network']['hosts'];
  /** Then there are no processes. */
  readonly problem?: Problem;
};

/** @param node seen by the containers as what they run on */
export function planWorkload(spec: WorkloadSpec, images: ImageMap, node: Node): WorkloadPlan {
  const { hosts } = spec.network;
  const processes: ProcessPlan[] = [];
  const problems: Problem[] = [];
  const { replicas = 1, template } = spec.workload.spec;
  for (let replica = 0; replica < replicas; replica++) {
    for (const container of template.spec.containers) {
      const planned = planProcess(spec, container, replica, images, node);
      if ('reason' in planned) problems.push(planned);
      else processes.push(planned);
    }
  }
  const [problem] = problems;
  return problem === undefined ? { processes, hosts } : { processes: [], hosts, problem };
}

/** The plan with the real ports in place of the stand-ins. @param ports containerPort → local port */
export function withPorts(plan: ProcessPlan, ports: Readonly<Record<number, number>>): ProcessPlan {
  const put = (text: string) => text.replace(STAND_IN, (_, port: string) => String(ports[Number(port)]));
  return { ...plan, argv: plan.argv.map(put), env: mapValues(plan.env, put) };
}

/**
 * Whether a process that runs by `before` may go on under `after`. Services that came or went since do not
 * count: as in Kubernetes their variables reach a process at its next start. One that moved does.
 */
export function sameProcess(before: ProcessPlan, after: ProcessPlan): boolean {
  const moved = Object.entries(before.network).some(([name, value]) => {
    const now = after.network[name];
    return now !== undefined && now !== value;
  });
  return !moved && JSON.stringify({ ...before, network: {} }) === JSON.stringify({ ...after, network: {} });
}

/** Of a plan with everything in it. */
export const processHash = (plan: ProcessPlan): string => sha256(JSON.stringify(plan));

/** Of everything that makes a difference to the processes; not of hosts and service variables, which come and go. */
export const workloadHash = ({ processes, problem }: WorkloadPlan): string =>
  sha256(JSON.stringify({ processes: processes.map(p => ({ ...p, network: {} })), problem }));

// --- internal -----------------------------------------------------------------------------------

type Setting = {
  readonly replica: number;
  readonly node: Node;
  readonly image: ImageSpec;
  readonly containerPorts: readonly number[];
};

function planProcess(
  spec: WorkloadSpec,
  container: Container,
  replica: number,
  images: ImageMap,
  node: Node,
): ProcessPlan | Problem {
  const image = findImage(images, container.image);
  if (image === undefined) return imageUnknown(container);
  const planned = planProbes(container);
  if ('wrong' in planned) return configError(container, planned.wrong);
  const containerPorts = portsOf(spec, container, planned.ports);
  const [firstPort] = containerPorts;
  const { env, missing } = environment(spec, container, { replica, node, image, containerPorts });
  if (missing.length > 0) return configError(container, `its environment lacks ${missing.join(', ')}`);
  const limits = limitsOf(container);
  if (typeof limits === 'string') return configError(container, limits);
  return {
    container: container.name,
    replica,
    argv: [...expandCommand(commandOf(container, image), { ...spec.network.env, ...env })],
    cwd: workingDir(container, image),
    env,
    network: spec.network.env,
    containerPorts,
    probes: firstPort === undefined ? planned.probes : { readiness: connects(firstPort), ...planned.probes },
    ...(limits && { limits }),
  };
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

/** The first becomes `$PORT`: one that is declared, else the one that a Service sends to. */
function portsOf(
  { workload, network }: WorkloadSpec,
  container: Container,
  probed: readonly number[],
): readonly number[] {
  const { containers } = workload.spec.template.spec;
  const served = network.ports.filter(port => listenerOf(port, containers)?.name === container.name);
  return [...new Set([...declaredPorts(container), ...served, ...probed])];
}

/** As in Kubernetes, `command` replaces the entry point of the image and with it the arguments of the image. */
function commandOf(container: Container, image: ImageSpec): readonly string[] {
  if (container.command !== undefined) return [...container.command, ...(container.args ?? [])];
  return [...image.command, ...(container.args ?? image.args ?? [])];
}

/** An absolute `workingDir` is a path inside the image, and `dir` stands for the image's working directory. */
const workingDir = ({ workingDir = '.' }: Container, { dir }: ImageSpec): string =>
  isAbsolute(workingDir) ? dir : resolve(dir, workingDir);

/**
 * From weak to strong: the services' variables, the image's, `envFrom`, `env`, our ports. The ports win
 * because a port that is fixed in a manifest cannot be listened on twice on one machine.
 */
function environment(
  { workload, refs, network }: WorkloadSpec,
  container: Container,
  { replica, node, image, containerPorts }: Setting,
): { readonly env: Readonly<Record<string, string>>; readonly missing: readonly string[] } {
  const { metadata, spec } = workload;
  const { namespace = 'default', name } = metadata;
  const ports = portVariables(container, containerPorts);
  const own = (container.env ?? []).filter(({ name }) => ports.every(port => port.name !== name));
  const { env, missing } = resolveEnv(
    { ...container, env: [...ports, ...own] },
    { ...spec.template.metadata, namespace },
    refs,
    { name: `${name}-${replica}`, ip: '127.0.0.1', node, spec: spec.template.spec },
    { ...network.env, ...image.env },
  );
  return { env: { ...image.env, ...env }, missing };
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

// The number of a port is not known yet; \u0001 is in no manifest (YAML 1.2 section 5.1 forbids it).
const standIn = (containerPort: number): string => `\u0001${containerPort}\u0001`;
const STAND_IN = /\u0001(\d+)\u0001/g;

const imageUnknown = ({ name, image }: Container): Problem => ({
  reason: 'ImageUnknown',
  message:
    `container "${name}": offshoot.yaml does not say how the image "${image}" runs here; ` +
    `add  images: {"${imageKeyFor(image)}": {dir: FOLDER, command: [PROGRAM, ARGUMENT]}}`,
});

const configError = ({ name }: Container, what: string): Problem => ({
  reason: 'ConfigError',
  message: `container "${name}": ${what}`,
});

const mapValues = (record: Readonly<Record<string, string>>, put: (text: string) => string) =>
  Object.fromEntries(Object.entries(record).map(([name, text]) => [name, put(text)]));

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
