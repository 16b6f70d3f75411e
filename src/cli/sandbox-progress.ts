/** A sandbox's status as progress steps. */
import type { Condition } from '../model/conditions.ts';
import type { SandboxView } from '../model/view.ts';
import type { ProgressStep } from './progress.ts';

const resourceState = {
  pending: 'waiting',
  running: 'running',
  succeeded: 'done',
  failed: 'failed',
} as const;

export function applySteps({ spec, status, generation }: SandboxView): readonly ProgressStep[] {
  const current = status.observedGeneration === generation;
  const resources = (spec.resources ?? []).flatMap((resource): ProgressStep[] => {
    const seen = status.resources.find(r => r.name === resource.name);
    if (seen === undefined || seen.workflow === 'delete' || seen.steps.length === 0) {
      const state = seen?.failed ? 'failed' : seen?.ready ? 'done' : 'waiting';
      return [{ label: `resource ${resource.name}`, state, ...(seen?.message && { detail: seen.message }) }];
    }
    return seen.steps.map(step => ({
      label: `resource ${resource.name}: ${step.name}`,
      state: resourceState[step.state],
      ...(step.ms !== undefined && { ms: step.ms }),
      ...(step.state === 'failed' && seen.message !== undefined && { detail: seen.message }),
    }));
  });
  const resourcesDone = (spec.resources ?? []).every(
    r => status.resources.find(s => s.name === r.name)?.ready,
  );
  const migrated = status.conditions.find(c => c.type === 'MigrationsReady');
  const migrations: readonly ProgressStep[] =
    migrated === undefined || !resourcesDone ? [] : [migrationStep(migrated, current, status)];
  const forks = (spec.forks ?? []).map(({ forkOf }): ProgressStep => {
    const seen = status.forks.find(
      f => f.forkOf.namespace === forkOf.namespace && f.forkOf.name === forkOf.name,
    );
    const label = `fork ${forkOf.namespace}/${forkOf.name}`;
    if (!resourcesDone || migrations.some(({ state }) => state !== 'done') || seen === undefined)
      return { label, state: 'waiting' };
    if (seen.ready && current) return { label, state: 'done' };
    return { label, state: status.failed ? 'failed' : 'running', detail: seen.message };
  });
  const published = status.conditions.find(c => c.type === 'EndpointsReady')?.status === 'True';
  return [
    ...resources,
    ...migrations,
    ...forks,
    { label: 'endpoints', state: published ? 'done' : 'waiting' },
  ];
}

function migrationStep(
  { status: done, message }: Condition,
  current: boolean,
  { failed, reason, message: now }: SandboxView['status'],
): ProgressStep {
  const label = 'migrations';
  if (reason === 'Migrating') return { label, state: 'running', detail: now };
  if (current && done === 'True') return { label, state: 'done', detail: message };
  if (failed && done === 'False') return { label, state: 'failed', detail: message };
  return { label, state: 'waiting' };
}

export function deleteSteps(view: SandboxView | undefined, first: SandboxView): readonly ProgressStep[] {
  if (view === undefined) return [{ label: `sandbox ${first.name} removed`, state: 'done' }];
  const steps = view.status.resources
    .filter(resource => resource.workflow === 'delete')
    .flatMap(resource =>
      resource.steps.map(
        (step): ProgressStep => ({
          label: `resource ${resource.name}: ${step.name}`,
          state: resourceState[step.state],
          ...(step.ms !== undefined && { ms: step.ms }),
        }),
      ),
    );
  return [
    ...steps,
    { label: `sandbox ${first.name} removed`, state: 'running', detail: view.status.message },
  ];
}
