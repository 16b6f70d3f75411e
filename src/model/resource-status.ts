/** What people get to see of a sandbox's resources: read off the journal, without outputs. Pure. */
import type { ResourceRecord } from './resource-record.ts';
import type { ResourceStatus, SandboxSpec } from './sandbox.ts';

export function resourceStatuses(
  spec: SandboxSpec,
  records: Readonly<Record<string, ResourceRecord>>,
): readonly ResourceStatus[] {
  return (spec.resources ?? []).map(({ name, plugin }) => {
    const record = records[name];
    const { failure } = record ?? {};
    const workflow = record?.phase === 'creating' || record?.phase === 'created' ? 'create' : 'delete';
    return {
      name,
      plugin: record?.plugin ?? plugin,
      ready: record?.phase === 'created',
      failed: record?.phase === 'failed' || record?.phase === 'undoing',
      ...(failure !== undefined && { message: failure.message }),
      ...(failure?.hint !== undefined && { hint: failure.hint }),
      workflow,
      steps: Object.entries(record?.[workflow] ?? {}).map(([step, s]) => ({
        name: step,
        state: s.state,
        ...(s.ms !== undefined && { ms: s.ms }),
      })),
      ...(failure?.output !== undefined && { output: failure.output }),
    };
  });
}

/** What its steps have said, as far as it is kept: of those that ended well, and of the one that failed. Those that make it come first. */
export function resourceOutput({ create, delete: undo, failure }: ResourceRecord): readonly string[] {
  const said = [create, undo].flatMap(steps => Object.values(steps).flatMap(step => step.said ?? []));
  return [...said, ...(failure?.output ?? [])];
}
