/** The forks of one sandbox: derived from the baseline, asked for from the workload runtime. */
import { availableParallelism, totalmem } from 'node:os';
import type { Baseline } from '../baseline/contract.ts';
import type { Ctx, WorkloadDriver, WorkloadSpec } from '../drivers/contract.ts';
import { claimsOf } from '../model/claims.ts';
import { resolveEnv } from '../model/container-env.ts';
import { deriveFork } from '../model/derive.ts';
import { endpointsOf } from '../model/endpoint.ts';
import { OffshootError } from '../model/errors.ts';
import { withoutOutputs } from '../model/fork-env.ts';
import type { Workload } from '../model/kubernetes.ts';
import { manifestName, nameOfManifest } from '../model/manifest-name.ts';
import type { Fork, SandboxSpec, SandboxStatus, WorkloadKey } from '../model/sandbox.ts';
import { sameWorkload, workloadPath } from '../model/workload.ts';
import { workloadPorts } from '../model/workload-ports.ts';
import { imagesOf } from '../rules/folders.ts';
import { inputsOfFork } from '../rules/inputs.ts';
import { baselineMissing } from '../rules/sandboxes.ts';
import type { Store, Stored } from '../store/contract.ts';
import { rootUseSentences, rootUses } from './root-uses.ts';
import { forkId, sandboxOwner, servedBy, wishOf, workloadSpec } from './workload-spec.ts';

export type ForkStatus = SandboxStatus['forks'][number];

/** Reason of a fork that needs the address of another one, which has none yet. */
export const waitingForFork = 'WaitingForFork';

export type ForkRunner = {
  /**
   * Asks for all forks of the document and removes those that its status knows and that are no longer in it; so
   * status must know them (`pendingForks`) before they are asked for. @returns one status per fork, in order
   */
  ensure(sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<readonly ForkStatus[]>;
  /** To be called when nobody is led any more to what the last `ensure` did not name: that can end now. */
  release(sandbox: string): void;
  /** Whether there is something to release. */
  leaving(sandbox: string): boolean;
  /** Removes all forks that document and status know. */
  remove(sandbox: Stored<'sandbox'>, ctx: Ctx): Promise<void>;
};

/** What status knows, and the forks of the document that it does not know yet. */
export function pendingForks({ spec, status }: Stored<'sandbox'>): readonly ForkStatus[] {
  const known = status?.forks ?? [];
  const unknown = (spec.forks ?? []).filter(f => !known.some(k => sameWorkload(k.forkOf, f.forkOf)));
  return [...known, ...unknown.map(pending)];
}

export function forkRunner({
  store,
  baseline,
  workloads,
}: {
  readonly store: Store;
  readonly baseline: Baseline;
  readonly workloads: WorkloadDriver;
}): ForkRunner {
  /** sandbox → id of a fork → pods that end when nobody is led to them any more. */
  const leaving = new Map<string, Readonly<Record<string, readonly string[]>>>();

  const removeAll = async (sandbox: string, forks: readonly WorkloadKey[], ctx: Ctx): Promise<void> => {
    const ids = new Set(forks.map(key => forkId(sandbox, key)));
    await Promise.all([...ids].map(id => workloads.remove(id, ctx)));
  };

  const ensureOne = async (
    sandbox: Stored<'sandbox'>,
    fork: Fork,
    others: ReadonlyMap<string, ForkStatus>,
    ctx: Ctx,
  ): Promise<ForkStatus> => {
    const name = fork.name ?? fork.forkOf.name;
    const awaited = referencesOf(fork)
      .map(key => others.get(forkId(sandbox.name, key)))
      .find(other => other !== undefined && Object.values(other.ports).flat().length === 0);
    if (awaited !== undefined) {
      const message = `waits for the fork of ${awaited.forkOf.namespace}/${awaited.forkOf.name}: ${awaited.message}`;
      return { ...pending(fork), reason: waitingForFork, message };
    }
    const id = forkId(sandbox.name, fork.forkOf);
    const { kind, namespace, name: original } = fork.forkOf;
    const manifest = store.get('manifest', manifestName(kind, namespace, original));
    const inputs = manifest && { inputs: inputsOfFork({ store, baseline }, manifest, sandbox) };
    const portsOf = (key: WorkloadKey) => others.get(forkId(sandbox.name, key))?.ports;
    const spec = forkSpec({ store, baseline }, sandbox, fork, portsOf);
    const seen = await workloads.ensure(id, spec, ctx);
    const { ready, serving, reason, message, restarts, ports } = seen;
    if (seen.leaving.length > 0)
      leaving.set(sandbox.name, { ...leaving.get(sandbox.name), [id]: seen.leaving });
    const log = !ready && seen.log.length > 0 ? { log: seen.log.slice(-20) } : {};
    const uses = rootUses(store, spec);
    const shares = uses.length > 0 ? { sharesData: uses } : {};
    const more = { ...inputs, ...shares, ...(seen.disks && { disks: seen.disks }), ...log };
    return { name, forkOf: fork.forkOf, ready, serving, reason, message, restarts, ports, ...more };
  };

  return {
    leaving: sandbox => leaving.has(sandbox),

    release(sandbox) {
      for (const [id, pods] of Object.entries(leaving.get(sandbox) ?? {})) workloads.release(id, pods);
      leaving.delete(sandbox);
    },

    async ensure(sandbox, ctx) {
      leaving.delete(sandbox.name);
      const wanted = sandbox.spec.forks ?? [];
      const surplus = forksKnown(store, sandbox).filter(k => !wanted.some(f => sameWorkload(f.forkOf, k)));
      await removeAll(sandbox.name, surplus, ctx);
      const found = new Map<string, ForkStatus>();
      // A fork may name another fork's address, which is known as soon as that one has been asked for.
      for (let open = [...wanted]; open.length > 0; ) {
        const blocked = open.filter(fork => dependsOnOpen(fork, open));
        if (blocked.length === open.length) {
          const forks = open.map(f => f.forkOf.name).join(', ');
          throw new OffshootError('sandbox/fork-cycle', { sandbox: sandbox.name, forks });
        }
        for (const fork of open.filter(f => !blocked.includes(f))) {
          found.set(forkId(sandbox.name, fork.forkOf), await ensureOne(sandbox, fork, found, ctx));
        }
        open = blocked;
      }
      return wanted.map(f => found.get(forkId(sandbox.name, f.forkOf))!);
    },

    remove: (sandbox, ctx) =>
      removeAll(
        sandbox.name,
        [...(sandbox.spec.forks ?? []).map(f => f.forkOf), ...forksKnown(store, sandbox)],
        ctx,
      ),
  };
}

/**
 * What the runtime is asked for to run `fork`.
 * @param portsOf where another fork of the sandbox answers, if that is known
 * @throws OffshootError sandbox/baseline-missing, sandbox/baseline-unread, fork/*
 */
export function forkSpec(
  { store, baseline }: { readonly store: Store; readonly baseline: Baseline },
  sandbox: Stored<'sandbox'>,
  fork: Fork,
  portsOf: (key: WorkloadKey) => ForkStatus['ports'] | undefined,
): WorkloadSpec {
  const { kind, namespace, name } = fork.forkOf;
  const found = baseline.get(kind, namespace, name);
  if (found === undefined) throw baselineMissing(baseline, fork.forkOf, `the fork of ${namespace}/${name}`);
  // The journal has moved on since the sandbox was read.
  const resourceOutputs = outputsOf(store.get('sandbox', sandbox.name) ?? sandbox);
  const workload = deriveFork({
    baseline: found.object,
    fork,
    sandboxName: sandbox.name,
    routingKey: sandbox.secret.routingKey,
    resourceOutputs,
    forkServices: key => {
      const [address] = Object.values(portsOf(key) ?? {}).flat();
      return address && { Host: address.host, Port: address.port };
    },
  });
  // Services select the baseline, and send to the fork what bears its key; previews may name any port.
  const ports = new Set([
    ...servedBy(baseline, found.object),
    ...endpointPorts(sandbox.spec, fork.forkOf, found.object),
  ]);
  const wish = `${wishOf(sandbox)}-${found.revision}`;
  const images = [sandbox.spec.images ?? {}, imagesOf(store, nameOfManifest(found.object))];
  const restarts = sandbox.secret.restarts?.[workloadPath(fork.forkOf)];
  const more = { ports: [...ports], wish, restarts, images };
  const spec = workloadSpec(baseline, sandboxOwner(sandbox.name), workload, more);
  const shared = claimsOf(found.object);
  const secretEnv = outputsIn(fork, found.object, resourceOutputs);
  return {
    ...spec,
    ...((fork.volumes !== undefined || shared.length > 0) && {
      forkVolumes: { ...fork.volumes, ...(shared.length > 0 && { shared }) },
    }),
    ...(secretEnv.length > 0 && { secretEnv }),
  };
}

/** What of a sandbox's forks leads to a root, in sentences, before anything of it is there. */
export function rootUsesOf(
  from: { readonly store: Store; readonly baseline: Baseline },
  sandbox: Stored<'sandbox'>,
): readonly string[] {
  const forks = (sandbox.spec.forks ?? []).map(fork => {
    const spec = forkSpec(from, sandbox, withoutOutputs(fork), () => undefined);
    return { ...pending(fork), sharesData: rootUses(from.store, spec) };
  });
  return rootUseSentences(forks);
}

/**
 * The environment that a fork's main container declares, every reference resolved: what a local process needs
 * to stand in for it. Holds secrets.
 * @param workload name of the fork or of what it forks; default: the first fork
 * @throws OffshootError api/not-found, sandbox/baseline-missing, fork/*
 */
export function forkEnvironment(
  from: { readonly store: Store; readonly baseline: Baseline },
  sandbox: Stored<'sandbox'>,
  workload: string | undefined,
): Readonly<Record<string, string>> {
  const forks = sandbox.spec.forks ?? [];
  const fork =
    workload === undefined ? forks[0] : forks.find(f => f.name === workload || f.forkOf.name === workload);
  if (fork === undefined) {
    const hint = `its forks are: ${forks.map(f => f.forkOf.name).join(', ') || 'none'}`;
    throw new OffshootError('api/not-found', { kind: 'fork', name: workload ?? '', hint });
  }
  const seen = sandbox.status?.forks ?? [];
  const portsOf = (key: WorkloadKey) => seen.find(f => sameWorkload(f.forkOf, key))?.ports;
  const { workload: derived, refs, network } = forkSpec(from, sandbox, fork, portsOf);
  const { template } = derived.spec;
  const meta = { ...template.metadata, namespace: fork.forkOf.namespace };
  const node = { name: 'local', cpus: availableParallelism(), memoryBytes: totalmem() };
  const pod = { name: derived.metadata.name, ip: '127.0.0.1', node, spec: template.spec };
  return resolveEnv(template.spec.containers[0]!, meta, refs, pod, network.env).env;
}

// --- internal -----------------------------------------------------------------------------------

/** Ports of the workload that endpoints of the sandbox lead to and no container declares. */
function endpointPorts(spec: SandboxSpec, forkOf: WorkloadKey, baseline: Workload): number[] {
  const own = workloadPorts(baseline, []);
  return endpointsOf(spec)
    .flatMap(({ to, port }) =>
      to.kind !== 'Service' && sameWorkload({ ...to, kind: to.kind }, forkOf) ? [port] : [],
    )
    .filter(port => !own.includes(port));
}

const pending = ({ name, forkOf }: Fork): ForkStatus => ({
  name: name ?? forkOf.name,
  forkOf,
  ready: false,
  reason: 'Pending',
  message: 'not started yet',
  restarts: 0,
  ports: {},
});

/** Of all forks that were ever asked for, those that were not removed yet. */
const forksKnown = (store: Store, sandbox: Stored<'sandbox'>): readonly WorkloadKey[] =>
  ((store.get('sandbox', sandbox.name) ?? sandbox).status?.forks ?? []).map(f => f.forkOf);

/** The forks whose address `fork` wants to know. */
const referencesOf = (fork: Fork): readonly WorkloadKey[] =>
  (fork.customizations?.env ?? []).flatMap(({ valueFrom }) =>
    valueFrom !== undefined && 'fork' in valueFrom ? [valueFrom.fork.forkOf] : [],
  );

const dependsOnOpen = (fork: Fork, open: readonly Fork[]): boolean =>
  referencesOf(fork).some(key => open.some(other => other !== fork && sameWorkload(other.forkOf, key)));

/** The variables that get outputs of resources. */
function outputsIn(
  { customizations: { env = [] } = {} }: Fork,
  baseline: Workload,
  outputs: Readonly<Record<string, Readonly<Record<string, string>>>>,
): NonNullable<WorkloadSpec['secretEnv']> {
  return env.flatMap(({ container = baseline.spec.template.spec.containers[0]!.name, name, valueFrom }) => {
    if (valueFrom === undefined || !('resource' in valueFrom)) return [];
    const { name: resource, outputKey } = valueFrom.resource;
    const value = outputs[resource]?.[outputKey];
    return value === undefined ? [] : [{ container, name, value }];
  });
}

/** resource name → `step.output` → value */
function outputsOf(sandbox: Stored<'sandbox'>): Record<string, Record<string, string>> {
  const all: Record<string, Record<string, string>> = {};
  for (const [resource, record] of Object.entries(sandbox.secret.resources)) {
    const outputs: Record<string, string> = {};
    for (const [step, { outputs: values = {} }] of Object.entries(record.create)) {
      for (const [output, value] of Object.entries(values)) outputs[`${step}.${output}`] = value;
    }
    all[resource] = outputs;
  }
  return all;
}
