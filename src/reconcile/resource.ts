/**
 * One resource of one sandbox: runs its plugin's workflows. Every step is journalled in the sandbox's record
 * before it starts and after it ends, so that a crash resumes and a failure undoes exactly what was begun.
 */
import type { Ctx, StepCause, StepDriver } from '../drivers/contract.ts';
import { stepOrder } from '../model/document/plugin.ts';
import { OffshootError, toOffshootError } from '../model/errors.ts';
import type { ImageMap } from '../model/image.ts';
import { findImage } from '../model/offshoot-config.ts';
import type { BuiltinAction, PluginSpec, PluginStep } from '../model/plugin.ts';
import { newResourceRecord, type ResourceRecord, type StepRecord } from '../model/resource-record.ts';
import type { SandboxResource } from '../model/sandbox.ts';
import type { Store, Stored } from '../store/contract.ts';
import type { Action, ActionEnd } from './branch-action.ts';
import { together, type Waits } from './steps.ts';

export type ResourceDeps = {
  readonly store: Store;
  readonly steps: StepDriver;
  readonly actions: Readonly<Record<BuiltinAction, Action>>;
  /** Variables for scripts beside SIGNADOT_*, e.g. how to reach our API. */
  readonly scriptEnv: () => Readonly<Record<string, string>>;
  /** Directories that scripts must be able to see. */
  readonly keep: readonly string[];
  /** Milliseconds that a step may take. */
  readonly stepMs: number;
  readonly now: () => Date;
};

export type ResourceRunner = {
  /**
   * Brings the resource to `created`, or to `failed` after undoing.
   * @param tell called with why a step does not run yet
   * @returns the record that it reached by now
   */
  create(
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    ctx: Ctx,
    tell?: Tell,
  ): Promise<{ readonly record: ResourceRecord; readonly waits?: Waits | undefined }>;
  /**
   * Runs the delete workflow for whatever was begun.
   * @returns what has to happen before it can go on; undefined when it is done
   * @throws OffshootError sandbox/undo-failed
   */
  remove(
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    ctx: Ctx,
    tell?: Tell,
  ): Promise<Waits | undefined>;
};

export type Tell = (step: string, cause: StepCause) => void;

type Workflow = 'create' | 'delete';

export function resourceRunner(deps: ResourceDeps): ResourceRunner {
  const { store, now } = deps;

  const read = (sandbox: string, resource: string): ResourceRecord | undefined =>
    store.get('sandbox', sandbox)?.secret.resources[resource];

  /** @returns the record as it is then; undefined when it is gone */
  const write = async (
    sandbox: string,
    resource: string,
    change: (record: ResourceRecord) => ResourceRecord,
  ): Promise<ResourceRecord | undefined> => {
    const written = await store.modify('sandbox', sandbox, object => {
      const record = object.secret.resources[resource];
      if (record === undefined) return undefined;
      return {
        secret: { ...object.secret, resources: { ...object.secret.resources, [resource]: change(record) } },
      };
    });
    return written?.secret.resources[resource];
  };

  const writeStep = (
    sandbox: string,
    resource: string,
    workflow: Workflow,
    step: string,
    record: StepRecord,
  ): Promise<unknown> =>
    write(sandbox, resource, r => ({ ...r, [workflow]: { ...r[workflow], [step]: record } }));

  /** As if it had never begun: there is nothing to undo. */
  const dropStep = (sandbox: string, resource: string, workflow: Workflow, step: string): Promise<unknown> =>
    write(sandbox, resource, r => {
      const { [step]: _, ...others } = r[workflow];
      return { ...r, [workflow]: others };
    });

  const runStep = async (
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    workflow: Workflow,
    step: PluginStep,
    ctx: Ctx,
    tell: Tell,
  ): Promise<Waits | undefined> => {
    const name = sandbox.name;
    const before = read(name, resource.name);
    const known = before?.[workflow][step.name];
    if (known?.state === 'succeeded') return;
    // A script begins again, a built-in action goes on.
    const goesOn = step.uses !== undefined && known?.state === 'running';
    const startedAt = goesOn ? new Date(known.startedAt) : now();
    const begin: StepRecord = { state: 'running', startedAt: startedAt.toISOString() };
    if (!goesOn) await writeStep(name, resource.name, workflow, step.name, begin);
    const msSince = () => Math.round(now().getTime() - startedAt.getTime());
    const ended = () => ({ ...begin, ms: msSince() });
    try {
      const leftMs = deps.stepMs - msSince();
      if (leftMs <= 0) throw new OffshootError('step/timeout', { step: step.name });
      const end = await inTime(step.name, leftMs, ctx, c =>
        execute(sandbox, resource, workflow, step, before, c, tell),
      );
      if ('until' in end) return { ...end, again: Math.min(leftMs, end.again ?? leftMs) };
      const { outputs, said } = end;
      const done = { outputs, ...(said !== undefined && { said }) };
      await writeStep(name, resource.name, workflow, step.name, { ...ended(), state: 'succeeded', ...done });
      return;
    } catch (thrown) {
      const isBegun = !(thrown instanceof OffshootError && thrown.code === 'step/not-started');
      if (!ctx.signal.aborted)
        await (isBegun
          ? writeStep(name, resource.name, workflow, step.name, { ...ended(), state: 'failed' })
          : dropStep(name, resource.name, workflow, step.name));
      throw new StepFailure(step.name, thrown);
    }
  };

  const inTime = async <T>(
    step: string,
    ms: number,
    ctx: Ctx,
    body: (ctx: Ctx) => Promise<T>,
  ): Promise<T> => {
    const deadline = AbortSignal.timeout(ms);
    try {
      return await body({ ...ctx, signal: AbortSignal.any([ctx.signal, deadline]) });
    } catch (thrown) {
      if (!deadline.aborted || ctx.signal.aborted || thrown instanceof OffshootError) throw thrown;
      throw new OffshootError('step/timeout', { step }, { cause: thrown });
    }
  };

  /** Names of the resources whose plugin makes a branch by the built-in action. */
  const branchResources = (sandbox: Stored<'sandbox'>): readonly string[] =>
    Object.entries(sandbox.secret.resources)
      .filter(([, record]) =>
        store.get('plugin', record.plugin)?.spec.create?.some(s => s.uses === 'branch/create'),
      )
      .map(([name]) => name);

  const execute = async (
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    workflow: Workflow,
    step: PluginStep,
    record: ResourceRecord | undefined,
    ctx: Ctx,
    tell: Tell,
  ): Promise<ActionEnd> => {
    const inputs = (step.inputs ?? []).map(input => ({
      ...input,
      value:
        input.valueFromStep === undefined
          ? (resource.params?.[input.name] ?? '')
          : (outputOf(record, workflow, input.valueFromStep) ?? ''),
    }));
    if (step.uses !== undefined) {
      const first = branchResources(sandbox)[0] === resource.name;
      const values = Object.fromEntries(inputs.map(i => [i.name, i.value]));
      return deps.actions[step.uses]({
        sandbox: sandbox.name,
        resource: { name: resource.name, first },
        inputs: values,
      });
    }
    const { routingKey } = sandbox.secret;
    const runner = record && store.get('plugin', record.plugin)?.spec.runner;
    return deps.steps.run(
      stepId(sandbox.name, resource.name, workflow, step.name),
      {
        script: step.script ?? '',
        inputs,
        outputs: step.outputs ?? [],
        env: {
          ...deps.scriptEnv(),
          SIGNADOT_SANDBOX_NAME: sandbox.name,
          SIGNADOT_SANDBOX_ID: routingKey,
          SIGNADOT_SANDBOX_ROUTING_KEY: routingKey,
          SIGNADOT_RESOURCE_NAME: resource.name,
        },
        keep: deps.keep,
        ...(runner && { runner, images: imagesOfRunner(store, sandbox, runner.image) }),
      },
      ctx,
      cause => tell(step.name, cause),
    );
  };

  /**
   * Runs layer after layer; steps of a layer at once. A failure is thrown when its whole layer has ended.
   * @returns what the first layer that is not done waits for
   */
  const runAll = async (
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    workflow: Workflow,
    steps: readonly PluginStep[],
    ctx: Ctx,
    tell: Tell,
  ): Promise<Waits | undefined> => {
    for (const layer of stepOrder(steps)) {
      const ends = await Promise.allSettled(
        layer.map(step => runStep(sandbox, resource, workflow, step, ctx, tell)),
      );
      const failed = ends.find(end => end.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
      const waits = together(ends.map(end => (end as PromiseFulfilledResult<Waits | undefined>).value));
      if (waits !== undefined) return waits;
    }
    return;
  };

  const undo = async (
    sandbox: Stored<'sandbox'>,
    resource: SandboxResource,
    spec: PluginSpec,
    ctx: Ctx,
    tell: Tell,
  ): Promise<Waits | undefined> => {
    const record = read(sandbox.name, resource.name);
    const steps = (spec.delete ?? []).filter(step => hasSomethingToUndo(step, record, spec));
    const undoFailed = (step: string, error: OffshootError, cause: unknown) => {
      const params = { resource: resource.name, sandbox: sandbox.name, step, why: error.message };
      const { output } = error;
      return new OffshootError('sandbox/undo-failed', params, {
        cause,
        ...(output !== undefined && { output }),
      });
    };
    try {
      // What somebody before us has begun may still make things.
      for (const [step, { state }] of Object.entries(record?.create ?? {}))
        if (state === 'running')
          await deps.steps.remove(stepId(sandbox.name, resource.name, 'create', step), ctx);
      const waits = await runAll(sandbox, resource, 'delete', steps, ctx, tell);
      if (waits?.why === undefined) return waits;
      return { ...waits, why: undoFailed('branch', waits.why, waits.why) };
    } catch (thrown) {
      const { step, error } = StepFailure.of(thrown);
      throw undoFailed(step, error, thrown);
    }
  };

  const pluginOf = (record: ResourceRecord, resource: SandboxResource): PluginSpec => {
    const plugin = store.get('plugin', record.plugin);
    if (plugin === undefined) {
      throw new OffshootError('sandbox/plugin-missing', { resource: resource.name, plugin: record.plugin });
    }
    return plugin.spec;
  };

  return {
    async create(sandbox, resource, ctx, tell = () => {}) {
      const name = sandbox.name;
      const reached = (waits?: Waits) => ({ record: read(name, resource.name)!, waits });
      const undone = async () => {
        const waits = await undo(sandbox, resource, spec, ctx, tell);
        if (waits === undefined) await write(name, resource.name, r => ({ ...r, phase: 'failed' }));
        return reached(waits);
      };
      const tries = sandbox.secret.tries ?? 0;
      const { record } = reached();
      const { failure } = record;
      const askedAgain =
        failure !== undefined && (failure.generation < sandbox.generation || (failure.tries ?? 0) < tries);
      const spec = pluginOf(record, resource);
      if (record.phase === 'undoing') {
        const end = await undone();
        if (end.waits !== undefined || !askedAgain) return end;
      }
      if (record.phase === 'failed' || record.phase === 'undoing') {
        if (failure !== undefined && !failure.retry && !askedAgain) return reached();
        await write(name, resource.name, r => newResourceRecord(r.plugin));
      } else if (record.phase !== 'creating') return reached();
      try {
        const waits = await runAll(sandbox, resource, 'create', spec.create ?? [], ctx, tell);
        if (waits === undefined) await write(name, resource.name, r => ({ ...r, phase: 'created' }));
        return reached(waits);
      } catch (thrown) {
        ctx.signal.throwIfAborted(); // stopping is not failing: the journal says where to go on
        const { step, error } = StepFailure.of(thrown);
        await write(name, resource.name, r => ({
          ...r,
          phase: 'undoing',
          failure: {
            step,
            code: error.code,
            message: error.message,
            ...(error.hint !== undefined && { hint: error.hint }),
            ...(error.output !== undefined && { output: error.output.split('\n').slice(-20) }),
            retry: error.row.retry,
            generation: sandbox.generation,
            tries,
          },
        }));
        return undone();
      }
    },

    async remove(sandbox, resource, ctx, tell = () => {}) {
      const record = read(sandbox.name, resource.name);
      if (record === undefined || record.phase === 'deleted') return;
      if (record.phase !== 'failed' && Object.keys(record.create).length > 0) {
        if (record.phase !== 'deleting' && record.phase !== 'undoing') {
          await write(sandbox.name, resource.name, r => ({ ...r, phase: 'deleting', delete: {} }));
        }
        const waits = await undo(sandbox, resource, pluginOf(record, resource), ctx, tell);
        if (waits !== undefined) return waits;
      }
      await write(sandbox.name, resource.name, r => ({ ...r, phase: 'deleted' }));
      return;
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

/** What the sandbox's folder, or any other, says of it. */
function imagesOfRunner(store: Store, { spec }: Stored<'sandbox'>, image: string | undefined): ImageMap {
  if (image === undefined) return {};
  const tables = [spec.images ?? {}, ...store.list('folder').map(folder => folder.spec.images)];
  const entry = tables.map(table => findImage(table, image)).find(found => found !== undefined);
  return entry === undefined ? {} : { [image]: entry };
}

const stepId = (sandbox: string, resource: string, workflow: Workflow, step: string): string =>
  `${sandbox}.${resource}.${workflow}.${step}`;

/** Says which step it was; the error itself is the cause. */
class StepFailure extends Error {
  readonly step: string;

  constructor(step: string, cause: unknown) {
    super(`step ${step} failed`, { cause });
    this.name = 'StepFailure';
    this.step = step;
  }

  static of(thrown: unknown): { step: string; error: OffshootError } {
    if (thrown instanceof StepFailure) return { step: thrown.step, error: toOffshootError(thrown.cause) };
    return { step: '', error: toOffshootError(thrown) };
  }
}

/** Delete steps may read outputs of delete steps before them and of create steps. */
function outputOf(
  record: ResourceRecord | undefined,
  workflow: Workflow,
  from: { readonly name: string; readonly output: string },
): string | undefined {
  const own = workflow === 'delete' ? record?.delete[from.name]?.outputs?.[from.output] : undefined;
  return own ?? record?.create[from.name]?.outputs?.[from.output];
}

/**
 * A delete step that reads outputs has work to do when one of the steps that make them was begun (a begun create
 * step may have made something even when it failed) or has work to do itself; one that reads none, when anything
 * was begun at all.
 */
function hasSomethingToUndo(step: PluginStep, record: ResourceRecord | undefined, spec: PluginSpec): boolean {
  const begun = record?.create ?? {};
  const sources = (step.inputs ?? []).flatMap(i => (i.valueFromStep ? [i.valueFromStep.name] : []));
  if (sources.length === 0) return Object.keys(begun).length > 0;
  return sources.some(name => {
    const source = (spec.delete ?? []).find(s => s.name === name);
    return source === undefined ? begun[name] !== undefined : hasSomethingToUndo(source, record, spec);
  });
}
