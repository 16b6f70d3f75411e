import { realpathSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { leftOutLine, leftOutLines } from '../../model/document/manifest-kinds.ts';
import { OffshootError } from '../../model/errors.ts';
import { nameOfManifest, namespaceOf } from '../../model/manifest-name.ts';
import type { ManifestView } from '../../model/view.ts';
import { isWorkloadKind } from '../../model/workload.ts';
import type { Cli } from '../context.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { print, say, took, withOutput } from '../output.ts';
import { createProgress } from '../progress.ts';
import { type ProjectFile, readProjectFile } from '../project-file.ts';
import { readSources } from '../read-file.ts';
import { waitFor } from '../wait.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('deploy')),
    'offshoot deploy -f k8s/',
    'kubectl create secret generic db --from-literal=url=x --dry-run=client -o yaml | offshoot deploy -f -',
  )
    .summary('apply baseline manifests')
    .description(
      'apply baseline manifests: workloads of every kind, Services, ConfigMaps, Secrets, Namespaces. Other kinds are left out, and counted.',
    )
    .requiredOption('-f, --filename <path>', 'a manifest, a folder of them, or - for standard input')
    .option(
      '--config <file>',
      'offshoot.yaml that says how images run here (default: searched upwards from -f)',
    )
    .option('--take-over', 'deploy into namespaces of another folder, which are of this one then')
    .option('-v, --verbose', 'list what is left out')
    .option('--strict', 'refuse what would be left out')
    .option('--no-wait', 'return before the workloads are ready')
    .option('--wait', 'wait until all is ready (the default)')
    .addOption(timeoutOption('3m'))
    .action(async ({ output, filename, config, takeOver, verbose, strict, wait, waitTimeout }) => {
      const started = performance.now();
      const files = await readSources(cli, filename);
      const project = await readProjectFile(cli, filename, config);
      const folder = folderOf(cli, filename, project);
      const images = project?.images ?? {};
      const apply = { files, folder, images, ...(strict && { strict }), ...(takeOver && { takeOver }) };
      const { applied, affected, warnings, leftOut } = await cli.client().manifests.apply(apply);
      for (const warning of warnings) say(cli, `warning: ${warning}`);
      for (const line of leftOutLines(leftOut))
        say(cli, `warning: ${line}${verbose ? '' : ' (-v lists them)'}`);
      if (verbose) for (const object of leftOut) say(cli, `  ${leftOutLine(object)}`);
      for (const m of applied) say(cli, `${m.kind.toLowerCase()}/${m.name} ${m.outcome}`);
      const seen = wait === false ? undefined : await waitReady(cli, [...applied, ...affected], waitTimeout);
      say(cli, `applied ${applied.length} in ${took(performance.now() - started)}`);
      const now = applied.map(m => ({ ...m, ...seen?.get(storeName(m)) }));
      await print(cli, output, now, () => '');
    });

  withExamples(program.command('undeploy'), 'offshoot undeploy -f k8s/')
    .description('remove baseline manifests')
    .requiredOption('-f, --filename <path>', 'what was deployed: a manifest, a folder, or -')
    .addOption(timeoutOption('1m'))
    .action(async ({ filename, waitTimeout }) => {
      const { readManifestFiles } = await import('../../model/document/manifest.ts');
      const manifests = readManifestFiles(await readSources(cli, filename)).manifests;
      const names = new Set<string>();
      for (const manifest of manifests) {
        const { kind, metadata } = manifest;
        try {
          await cli.client().manifests.delete(kind, namespaceOf(manifest), metadata.name);
          names.add(nameOfManifest(manifest));
        } catch (error) {
          if (!(error instanceof OffshootError && error.code === 'api/not-found')) throw error;
          say(cli, `${kind.toLowerCase()}/${metadata.name} does not exist; nothing to do`);
        }
      }
      await waitFor<ManifestView>(cli, {
        kind: 'manifest',
        timeoutMs: waitTimeout,
        what: 'the manifests to be gone',
        probe: objects => ([...names].some(name => objects.has(name)) ? undefined : true),
      });
      for (const name of names) say(cli, `${name} is gone`);
    });
}

// --- internal -----------------------------------------------------------------------------------

/** Whose the manifests are: the folder of the project file, else the one that holds them. */
function folderOf({ cwd }: Cli, path: string, project: ProjectFile | undefined): string {
  if (project !== undefined) return project.folder;
  if (path === '-') return realpathSync(cwd);
  const full = realpathSync(resolve(cwd, path));
  return statSync(full).isDirectory() ? full : dirname(full);
}

/** Reasons that waiting does not mend; the same words as the workload runtime uses. */
const finalReasons = new Set(['ImageUnknown', 'CommandNotFound', 'ConfigError', 'PortTaken', 'Failed']);

const storeName = (m: ManifestView): string =>
  `${m.kind}/${m.kind === 'Namespace' ? m.name : m.namespace}/${m.name}`;

/** @returns what they are then, by store name */
async function waitReady(
  cli: Cli,
  applied: readonly ManifestView[],
  timeoutMs: number,
): Promise<ReadonlyMap<string, ManifestView>> {
  const names = applied.map(m => ({ name: storeName(m), generation: m.generation }));
  let last: ReadonlyMap<string, ManifestView> = new Map();
  const progress = createProgress(cli);
  try {
    await waitFor<ManifestView>(cli, {
      kind: 'manifest',
      timeoutMs,
      what: 'the baseline to be ready',
      hint: 'see "offshoot status" and its log lines; a container must listen on $PORT, not on a fixed port',
      probe: objects => {
        last = objects;
        const seen = names.map(({ name, generation }) => ({ name, generation, object: objects.get(name) }));
        progress.show(
          seen
            .filter(({ object }) => object?.kind === 'Service' || isWorkloadKind(object?.kind ?? ''))
            .map(({ name, object, generation }) => {
              const ready = object!.ready && object!.observedGeneration >= generation;
              return { label: name, state: ready ? 'done' : 'running', detail: object!.message } as const;
            }),
        );
        const failed = seen.find(
          ({ object, generation }) =>
            object !== undefined &&
            object.observedGeneration >= generation &&
            (finalReasons.has(object.reason) ||
              (object.reason === 'CrashLoopBackOff' && (object.restarts ?? 0) >= 3)),
        )?.object;
        if (failed !== undefined) {
          throw new OffshootError(
            'manifest/failed',
            { kind: failed.kind, name: failed.name, namespace: failed.namespace, why: failed.message },
            { ...(failed.log && { output: failed.log.join('\n') }) },
          );
        }
        return seen.every(
          ({ object, generation }) => object?.ready && object.observedGeneration >= generation,
        )
          ? true
          : undefined;
      },
      last: objects => [...objects.values()].find(o => !o.ready)?.message,
    });
  } finally {
    progress.end();
  }
  return last;
}
