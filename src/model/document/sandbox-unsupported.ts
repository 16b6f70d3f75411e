/** The parts of a sandbox document that are understood, but that nothing carries out yet. */
import { type ItemOf, type Loose, placed } from './loose.ts';
import type { Finding, Path } from './problem.ts';
import { parseTarget, type SandboxDocument } from './sandbox-schema.ts';

type Spec = NonNullable<Loose<SandboxDocument>['spec']>;

export function sandboxUnsupported({ spec = {} }: Loose<SandboxDocument>): readonly Finding[] {
  const targets = placed(spec.defaultRouteGroup?.endpoints, ['spec', 'defaultRouteGroup', 'endpoints']);
  return [
    ...sections(spec),
    ...placed(spec.forks, ['spec', 'forks']).flatMap(({ item, path }) => forkParts(item, path)),
    ...placed(spec.endpoints, ['spec', 'endpoints']).flatMap(({ item, path }) =>
      protocolParts(item.protocol, [...path, 'protocol']),
    ),
    ...targets.flatMap(({ item, path }) => targetParts(item.target, [...path, 'target'])),
  ];
}

// --- internal -----------------------------------------------------------------------------------

/** Whole sections; empty ones ask for nothing. */
function sections(spec: Spec): Finding[] {
  const all: readonly (readonly [present: boolean, path: Path, what: string])[] = [
    [(spec.local ?? []).length > 0, ['spec', 'local'], 'a local workload'],
    [(spec.virtual ?? []).length > 0, ['spec', 'virtual'], 'a virtual workload'],
    [(spec.middleware ?? []).length > 0, ['spec', 'middleware'], 'middleware'],
    [(spec.routing?.forwards ?? []).length > 0, ['spec', 'routing', 'forwards'], 'a forward'],
    [(spec.connection?.devboxId ?? '') !== '', ['spec', 'connection'], 'a connection to a devbox'],
    [(spec.localMachineID ?? '') !== '', ['spec', 'localMachineID'], 'localMachineID'],
  ];
  return all.flatMap(([present, path, what]) => (present ? [{ ...notYet(path, what), at: 'key' }] : []));
}

function forkParts(fork: ItemOf<Spec['forks']>, path: Path): Finding[] {
  const patch = fork.customizations?.patch?.type;
  return [
    ...(patch?.startsWith('signadot/')
      ? [notYet([...path, 'customizations', 'patch', 'type'], `the patch type "${patch}"`)]
      : []),
    ...placed(fork.endpoints, [...path, 'endpoints']).flatMap(({ item, path }) =>
      protocolParts(item.protocol, [...path, 'protocol']),
    ),
  ];
}

function targetParts(target: string | undefined, path: Path): Finding[] {
  const parsed = target === undefined ? undefined : parseTarget(target);
  return protocolParts(parsed?.protocol, path);
}

const protocolParts = (protocol: string | undefined, path: Path): Finding[] =>
  protocol === undefined || protocol === 'http' ? [] : [notYet(path, `the protocol "${protocol}"`)];

const notYet = (path: Path, what: string): Finding => ({ path, message: `${what} is not supported yet` });
