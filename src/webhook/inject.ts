/**
 * A pod with a sidecar: the router beside its program, and an init container that leads its ports there. Pure. What is
 * there stays as it is, but for probes of ports that are led away: they ask at another number for the program itself, so
 * that they say of it what they have always said.
 */
import { workloadByName } from '../kubernetes/pod-owner.ts';
import { sidecarAnnotations, sidecarNames } from '../kubernetes/sidecar-names.ts';
import type { Container, PodSpec, Service } from '../model/kubernetes.ts';
import { containerPortOf, selects } from '../model/service.ts';
import { workloadPath } from '../model/workload.ts';
import type { PatchOperation } from './admission.ts';

export type SidecarSettings = {
  readonly image: string;
  readonly imagePullPolicy: string;
  /** `HOST:PORT` of the controller, as pods find it. */
  readonly controller: string;
  /** Certificates of the authorities by which it is known, PEM. */
  readonly authorities: () => string;
  /** Of the sidecar's container. */
  readonly resources: object;
  /** Headers that carry a key, for as long as nobody has told which do. */
  readonly headers: readonly string[];
  readonly logLevel: string;
};

export type NewPod = {
  readonly metadata: {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly labels?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly {
      readonly kind: string;
      readonly name: string;
      readonly controller?: boolean;
    }[];
    readonly [field: string]: unknown;
  };
  readonly spec: PodSpec;
};

export type Surroundings = {
  readonly namespace: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** Of the pod's namespace. */
  readonly services: readonly Service[];
};

export const hasSidecar = ({ initContainers = [] }: Pick<PodSpec, 'initContainers'>): boolean =>
  initContainers.some(({ name }) => name === sidecarNames.container);

/** @returns what is to be changed; empty when it has one already. Of one that can have none: why, on the pod */
export function injection(
  pod: NewPod,
  around: Surroundings,
  settings: SidecarSettings,
): readonly PatchOperation[] {
  if (hasSidecar(pod.spec)) return [];
  // That it is true, the controller sees when the pod asks who it is: kubernetes/pod-identity.ts.
  const owner = workloadByName(pod.metadata, around.namespace);
  const workload = owner && workloadPath(owner);
  const why = obstacle(pod, around, workload);
  if (why !== undefined) return [annotated(pod, `not injected: ${why}`)];
  const ports = servedPorts(pod, around);
  if (typeof ports === 'string') return [annotated(pod, `not injected: ${ports}`)];
  const numbers = numbered(ports, pod.spec);
  const { initContainers = [], containers, volumes = [] } = pod.spec;
  return [
    {
      ...{ op: 'add', path: '/spec/initContainers' },
      value: [redirecting(numbers, settings), routing(workload!, numbers, settings), ...initContainers],
    },
    { op: 'add', path: '/spec/containers', value: containers.map(one => withDirectProbes(one, numbers)) },
    {
      ...{ op: 'add', path: '/spec/volumes' },
      value: [
        ...volumes,
        { name: sidecarNames.table, emptyDir: { sizeLimit: '64Mi' } },
        {
          name: sidecarNames.token,
          projected: {
            sources: [
              { serviceAccountToken: { audience: 'offshoot', expirationSeconds: 3600, path: 'token' } },
            ],
          },
        },
      ],
    },
    annotated(pod, 'injected'),
  ];
}

// --- internal ------------------------------------------------------------------------------------

/** So many ports have numbers of ours: from these on, as far as they are free. */
const [FIRST_LISTEN, FIRST_DIRECT, PROBE] = [17_401, 17_451, 17_400];
const MOST_PORTS = 40;

type Numbers = {
  readonly probe: number;
  readonly ports: readonly { readonly program: number; readonly listen: number; readonly direct: number }[];
};

/** Why a pod can have none. */
function obstacle(
  { spec }: NewPod,
  { namespaceLabels }: Surroundings,
  workload: string | undefined,
): string | undefined {
  if (workload === undefined)
    return 'only pods of Deployments and their like have one, not of Jobs, nor bare ones';
  if (spec.hostNetwork === true) return 'the pod has the network of its node';
  const { os } = spec as { readonly os?: { readonly name?: string } };
  if (os?.name === 'windows') return 'it is for Linux';
  const level = namespaceLabels['pod-security.kubernetes.io/enforce'];
  if (level === 'baseline' || level === 'restricted')
    return `the namespace enforces the Pod Security level "${level}", which forbids NET_ADMIN`;
  return undefined;
}

/** What connections come for: ports that are declared, and that Services lead to. @returns why there are none that can be led */
function servedPorts({ metadata, spec }: NewPod, { services }: Surroundings): readonly number[] | string {
  const said = metadata.annotations?.[sidecarAnnotations.ports];
  if (said !== undefined) {
    const ports = said.split(',').map(port => Number(port.trim()));
    if (ports.every(port => Number.isInteger(port) && port > 0 && port < 65_536)) return limited(ports);
    return `"${said}" in ${sidecarAnnotations.ports} is no list of ports`;
  }
  const isTcp = ({ protocol = 'TCP' }: { readonly protocol?: string }) => protocol === 'TCP';
  const declared = spec.containers.flatMap(({ ports = [] }) =>
    ports.filter(isTcp).map(one => one.containerPort),
  );
  const labels = metadata.labels ?? {};
  const like = { spec: { template: { spec } } } as Parameters<typeof containerPortOf>[1];
  const targeted = services
    .filter(service => selects(service, labels))
    .flatMap(service => (service.spec.ports ?? []).filter(isTcp).map(port => containerPortOf(port, like)))
    .filter(port => port !== undefined);
  return limited([...declared, ...targeted]);
}

function limited(ports: readonly number[]): readonly number[] | string {
  const all = [...new Set(ports)].toSorted((a, b) => a - b);
  if (all.length === 0) return 'it declares no port, and no Service leads to one';
  return all.length > MOST_PORTS ? `it has more than ${MOST_PORTS} ports` : all;
}

/** Numbers of ours that nobody else in the pod has. */
function numbered(ports: readonly number[], { containers, initContainers = [] }: PodSpec): Numbers {
  const taken = new Set(
    [...containers, ...initContainers].flatMap(one => one.ports ?? []).map(one => one.containerPort),
  );
  for (const port of ports) taken.add(port);
  const free = (from: number) => {
    let number = from;
    while (taken.has(number)) number++;
    taken.add(number);
    return number;
  };
  const probe = free(PROBE);
  return {
    probe,
    ports: ports.map(program => ({ program, listen: free(FIRST_LISTEN), direct: free(FIRST_DIRECT) })),
  };
}

const pairs = (option: string, all: readonly (readonly [number, number])[]): readonly string[] =>
  all.flatMap(([listen, program]) => [option, `${listen}:${program}`]);

const redirecting = ({ ports }: Numbers, { image, imagePullPolicy }: SidecarSettings): Container => ({
  ...{ name: sidecarNames.redirect, image, imagePullPolicy },
  args: [
    'redirect',
    ...pairs(
      '--port',
      ports.map(one => [one.listen, one.program]),
    ),
    ...pairs(
      '--direct',
      ports.map(one => [one.direct, one.program]),
    ),
  ],
  resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { memory: '256Mi' } },
  securityContext: {
    // The kernel asks for the capability, and only root of a container gets one.
    ...{ runAsUser: 0, runAsGroup: 0, runAsNonRoot: false, allowPrivilegeEscalation: false },
    ...{ readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] } },
    seccompProfile: { type: 'RuntimeDefault' },
  },
});

const routing = (workload: string, { ports, probe }: Numbers, o: SidecarSettings): Container => ({
  ...{ name: sidecarNames.container, image: o.image, imagePullPolicy: o.imagePullPolicy },
  // Native: it starts before the program, and ends after it.
  restartPolicy: 'Always',
  args: [
    ...['sidecar', '--workload', workload, '--controller', o.controller],
    ...['--program-host', '$(OFFSHOOT_POD_IP)', '--probe-port', String(probe), '--id', '$(OFFSHOOT_POD_UID)'],
    ...['--token', '/var/run/secrets/offshoot.dev/token', '--table', '/var/run/offshoot/table'],
    ...['--log', o.logLevel],
    ...pairs(
      '--port',
      ports.map(one => [one.listen, one.program]),
    ),
    ...o.headers.flatMap(header => ['--header', header]),
  ],
  env: [
    { name: 'OFFSHOOT_POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    { name: 'OFFSHOOT_POD_UID', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } },
    { name: 'OFFSHOOT_CA', value: o.authorities() },
  ],
  resources: o.resources as NonNullable<Container['resources']>,
  startupProbe: { tcpSocket: { port: probe }, periodSeconds: 1, failureThreshold: 120 },
  readinessProbe: { tcpSocket: { port: probe }, periodSeconds: 10 },
  volumeMounts: [
    { name: sidecarNames.token, mountPath: '/var/run/secrets/offshoot.dev', readOnly: true },
    { name: sidecarNames.table, mountPath: '/var/run/offshoot' },
  ],
  securityContext: {
    ...{ runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true, allowPrivilegeEscalation: false },
    ...{ readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    seccompProfile: { type: 'RuntimeDefault' },
  },
});

type Probe = {
  readonly httpGet?: { readonly port: number | string; readonly host?: string };
  readonly tcpSocket?: { readonly port: number | string; readonly host?: string };
  readonly grpc?: { readonly port: number };
};

const probes = ['startupProbe', 'readinessProbe', 'livenessProbe'] as const;

/** The same container, whose probes reach the program as if nothing stood before it. */
function withDirectProbes(container: Container, { ports }: Numbers): Container {
  const numberOf = (port: number | string) =>
    typeof port === 'number'
      ? port
      : (container.ports ?? []).find(({ name }) => name === port)?.containerPort;
  const direct = <T extends { readonly port: number | string; readonly host?: string }>(at: T): T => {
    // Another host is asked for: that is none of ours.
    if (at.host !== undefined) return at;
    const known = ports.find(({ program }) => program === numberOf(at.port));
    return known === undefined ? at : { ...at, port: known.direct };
  };
  const changed = Object.fromEntries(
    probes.flatMap(name => {
      const probe = container[name] as Probe | undefined;
      if (probe === undefined) return [];
      const { httpGet, tcpSocket, grpc } = probe;
      const at = {
        ...(httpGet && { httpGet: direct(httpGet) }),
        ...(tcpSocket && { tcpSocket: direct(tcpSocket) }),
        ...(grpc && { grpc: direct(grpc) }),
      };
      return [[name, { ...probe, ...at }]];
    }),
  );
  return { ...container, ...changed };
}

const annotated = ({ metadata }: NewPod, said: string): PatchOperation => ({
  ...{ op: 'add', path: '/metadata/annotations' },
  value: { ...metadata.annotations, [sidecarAnnotations.status]: said },
});
