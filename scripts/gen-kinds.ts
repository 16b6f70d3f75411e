/** docs/kinds.md, from the table of fields. */
import { type FieldRow, manifestFields, manifestTypes } from '../src/model/document/manifest-fields.ts';

export function kindsPage(): string {
  const sections = Object.entries(manifestFields).map(([type, rows]) =>
    section(manifestTypes[type as keyof typeof manifestTypes].title, rows),
  );
  return `${[intro, ...sections].join('\n\n')}\n`;
}

// --- internal ------------------------------------------------------------------------------------

const intro = `# Kinds of manifests

What becomes of every field, made from \`src/model/document/manifest-fields.ts\` by \`npm run check -- --write\`; a test
holds it against the types of the Kubernetes API (1.30). Fields that are newer or of nobody are kept as they are.

Read are Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob, Pod, Argo's Rollout (as a
Deployment; one with a \`workloadRef\` is left out), Service, Endpoints, EndpointSlice, ConfigMap, Secret, PersistentVolumeClaim, Namespace. Every
other kind is left out, counted at \`deploy\`, listed by \`-v\` and refused by \`--strict\`. What a cluster refuses is refused here too, with its line.

*done*: as in a cluster. *approximated*: not quite. *warned*: ignored, and \`deploy\` says so. *ignored*: without a word,
because nobody misses it on one machine.

## What can be forked

Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Rollout, Pod. A fork is one pod of the same kind, with
a name and labels of its own, whatever those of the baseline are; what its containers read of their labels and
annotations in variables and files is what the baseline's read; what a controller gives each pod, such as the number of
a StatefulSet's, is the fork's own. A fork of a StatefulSet has none of its stable names. A Job or a CronJob cannot be
forked.

## Jobs

A Job runs once for each form of what it runs. Applied unchanged it does not run again; changed it is replaced, and
\`deploy\` says so; one that has failed runs again when it is applied again. \`deploy\` waits for its end. After
\`ttlSecondsAfterFinished\` the Job is gone, as in a cluster, and would run again.`;

const words = { done: 'done', approximated: 'approximated', told: 'warned', ignored: 'ignored' } as const;

function section(title: string, rows: Readonly<Record<string, FieldRow>>): string {
  const lines = Object.entries(rows).map(
    ([field, { how, note = '' }]) => `| \`${field}\` | ${words[how]} | ${note} |`,
  );
  return [`## ${title}`, '', '| field | | |', '|---|---|---|', ...lines].join('\n');
}
