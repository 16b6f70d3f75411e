/** What must hold across one Kubernetes object, as Kubernetes itself demands it. */
import type { ManifestKind } from '../kubernetes.ts';
import { similarName } from '../names.ts';
import { type ItemOf, isMalformed, type Loose, names, placed, unique } from './loose.ts';
import type { DeploymentDocument, ServiceDocument } from './manifest-schema.ts';
import type { Finding, Path } from './problem.ts';

/** By kind; each gets what is well-formed of a manifest of its kind. */
export const manifestRules: { readonly [K in ManifestKind]?: (manifest: never) => readonly Finding[] } = {
  Deployment: deploymentRules,
  Service: serviceRules,
};

/** Text of a base64 value of a Secret; undefined when its bytes are not UTF-8. */
export function decodeSecret(value: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(value, 'base64'));
  } catch {
    return undefined;
  }
}

// --- internal -----------------------------------------------------------------------------------

const PROBES = ['readinessProbe', 'livenessProbe', 'startupProbe'] as const;

type PodSpec = NonNullable<NonNullable<NonNullable<Loose<DeploymentDocument>['spec']>['template']>['spec']>;
type Container = ItemOf<PodSpec['containers']>;

function deploymentRules({ spec = {} }: Loose<DeploymentDocument>): Finding[] {
  const path: Path = ['spec', 'template', 'spec', 'containers'];
  const list = spec.template?.spec?.containers;
  const containers = placed(list, path);
  return [
    ...selectorFindings(spec),
    ...unique(names(list, path), 'container name'),
    ...containers.flatMap(({ item, path }) => [
      ...unique(names(item.ports, [...path, 'ports']), 'port name'),
      ...probePortFindings(item, path),
    ]),
  ];
}

function selectorFindings({ selector, template }: NonNullable<Loose<DeploymentDocument>['spec']>): Finding[] {
  const pod = template?.metadata;
  // What is missing or malformed has been reported already.
  if (selector === undefined || template === undefined || isMalformed(selector, 'matchLabels')) return [];
  if (isMalformed(template, 'metadata') || isMalformed(pod, 'labels')) return [];
  const path: Path = ['spec', 'selector'];
  const wanted = Object.entries(selector.matchLabels ?? {});
  if (wanted.length === 0 && selector.matchExpressions === undefined)
    return [{ path, message: 'the selector is empty' }];
  const labels = pod?.labels ?? {};
  return wanted
    .filter(([label, value]) => value !== undefined && value !== labels[label] && !isMalformed(labels, label))
    .map(([label, value]) => ({
      path: [...path, 'matchLabels', label],
      message: `the template's labels do not have "${label}: ${value}"`,
    }));
}

function probePortFindings(container: Container, path: Path): Finding[] {
  const ports = container.ports ?? [];
  if (isMalformed(container, 'ports') || ports.some(port => port === undefined || isMalformed(port, 'name')))
    return [];
  const known = ports.flatMap(port => port?.name ?? []);
  return PROBES.flatMap(field =>
    (['httpGet', 'tcpSocket'] as const).flatMap(handler => {
      const port = container[field]?.[handler]?.port;
      if (typeof port !== 'string' || known.includes(port)) return [];
      return [
        {
          path: [...path, field, handler, 'port'],
          message: `the container has no port named "${port}"`,
          suggestion: similarName(port, known),
        },
      ];
    }),
  );
}

function serviceRules({ spec }: Loose<ServiceDocument>): Finding[] {
  const path: Path = ['spec', 'ports'];
  const ports = placed(spec?.ports, path);
  const numbers = ports.map(({ item, path }) => ({
    text: item.port === undefined ? undefined : `${item.protocol ?? 'TCP'} ${item.port}`,
    path: [...path, 'port'],
  }));
  const nameless = ports.length < 2 ? [] : ports.filter(({ item }) => !Object.hasOwn(item, 'name'));
  return [
    ...unique(names(spec?.ports, path), 'port name'),
    ...unique(numbers, 'port'),
    ...nameless.map(({ path }) => ({ path, message: 'each of several ports needs a name' })),
  ];
}
