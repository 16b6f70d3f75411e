/** The parts of a Deployment that have no effect where containers run as plain processes. */
import type { Deployment } from '../kubernetes.ts';
import type { Finding, Path } from './problem.ts';

/** One finding for each part; they are no reason to refuse the manifest. */
export function deploymentWarnings({ spec }: Deployment): readonly Finding[] {
  const pod = spec.template.spec;
  const podPath: Path = ['spec', 'template', 'spec'];
  return [
    ...(spec.selector.matchExpressions === undefined
      ? []
      : [warning(['spec', 'selector', 'matchExpressions'], 'only matchLabels are looked at')]),
    ...pick(pod, podPath, POD_PARTS),
    ...pod.containers.flatMap((container, i) => {
      const path = [...podPath, 'containers', i];
      return [
        ...pick(container, path, CONTAINER_PARTS),
        ...pick(container.resources, [...path, 'resources'], { limits: 'limits are not enforced' }),
        ...PROBES.flatMap(probe =>
          pick(container[probe], [...path, probe], { grpc: 'gRPC probes are not run' }),
        ),
        ...(container.env ?? []).flatMap((env, j) =>
          pick(env.valueFrom, [...path, 'env', j, 'valueFrom'], {
            resourceFieldRef: 'the variable is not set from resources',
          }),
        ),
      ];
    }),
  ];
}

// --- internal -----------------------------------------------------------------------------------

const PROBES = ['readinessProbe', 'livenessProbe', 'startupProbe'] as const;

const POD_PARTS = {
  volumes: 'volumes are not mounted',
  initContainers: 'init containers are not run',
  securityContext: 'the security context is not applied',
  hostNetwork: 'the host network is used anyway',
};

const CONTAINER_PARTS = {
  volumeMounts: 'volumes are not mounted',
  securityContext: 'the security context is not applied',
  lifecycle: 'lifecycle hooks are not run',
};

/** Warnings for those fields of `object` that say something. */
function pick(object: unknown, path: Path, parts: Readonly<Record<string, string>>): Finding[] {
  if (typeof object !== 'object' || object === null) return [];
  const says = new Map(Object.entries(object).filter(([, value]) => !isEmpty(value)));
  return Object.entries(parts)
    .filter(([field]) => says.has(field))
    .map(([field, what]) => warning([...path, field], `${what} where containers run as processes`));
}

const warning = (path: Path, message: string): Finding => ({ path, message, at: 'key' });

const isEmpty = (value: unknown): boolean =>
  value === false || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
