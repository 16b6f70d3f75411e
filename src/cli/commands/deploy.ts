import { join } from 'node:path';
import type { Command } from 'commander';
import type { ManifestPlan } from '../../client/index.ts';
import { type LeftOut, leftOutLine, leftOutLines } from '../../model/document/manifest-kinds.ts';
import { isWorkloadKind } from '../../model/workload.ts';
import type { Cli } from '../context.ts';
import { storeName, waitForForks, waitReady } from '../deploy-wait.ts';
import { readManifestsGiven, sayWhatRenders, withManifests } from '../manifest-files.ts';
import { entriesFor, missingImagesError, missingImagesLine } from '../missing-images.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { print, say, took, UsageError, withOutput } from '../output.ts';
import { folderNamed, readImages } from '../project-file.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(withManifests(program.command('deploy'))),
    'offshoot deploy -f k8s/',
    'offshoot deploy -f k8s/ -R --prune --dry-run',
    'offshoot deploy -k overlays/dev',
    'helm template shop ./chart | offshoot deploy -f -',
  )
    .usage('[options]')
    .allowExcessArguments()
    .summary('apply baseline manifests')
    .description(
      'apply baseline manifests: workloads of every kind, Services, ConfigMaps, Secrets, Namespaces. Other kinds are left out, and counted.',
    )
    .option('-n, --namespace <namespace>', 'for objects that name none')
    .option(
      '--config <file>',
      'offshoot.yaml that says how images run here (default: searched upwards from -f)',
    )
    .option('--folder <folder>', 'whose they are (default: the folder of offshoot.yaml, else that of -f)')
    .option('--take-over', 'deploy into namespaces of another folder, which are of this one then')
    .option('--prune', 'remove what came from there before, and is not there any more')
    .option('--dry-run', 'only show what would be changed, as a diff')
    .option('-v, --verbose', 'list what is left out, and repeat warnings')
    .option('--strict', 'refuse what would be left out')
    .option('--no-wait', 'return before the workloads are ready')
    .option('--wait', 'wait until all is ready (the default)')
    .addOption(timeoutOption('3m'))
    .action(async ({ output, verbose = false, wait, waitTimeout, ...options }, { args }: Command) => {
      if (args.length > 0)
        throw new UsageError(`name files and folders with -f: offshoot deploy -f ${args[0]}`);
      const started = performance.now();
      const { files, folder, project, scope } = await readManifestsGiven(cli, options);
      if (options.prune && options.filename?.includes('-') && options.folder === undefined)
        throw new UsageError('--prune of standard input needs --folder, which says whose the input is');
      const imagesFile = options.config ?? join(project?.folder ?? folder, 'offshoot.yaml');
      const { namespace, strict = false, takeOver = false } = options;
      const request = {
        ...{ files, strict, takeOver, images: project ? await readImages(cli, project) : {} },
        folder: options.folder === undefined ? folder : folderNamed(cli, options.folder),
        ...(namespace !== undefined && { namespace }),
        ...(options.prune && { prune: scope }),
      };
      const answered = <T>(call: Promise<T>): Promise<T> =>
        call.catch((error: unknown) => {
          sayWhatRenders(cli, options, files, error);
          throw error;
        });
      if (options.dryRun) {
        const plan = await answered(cli.client().manifests.plan(request));
        warn(cli, plan, true);
        warnOfImages(cli, plan.missingImages, imagesFile);
        if (plan.missingImages.length > 0)
          for (const line of entriesFor(plan.missingImages).split('\n')) say(cli, `  | ${line}`);
        const { text } = await import('../manifest-diff.ts');
        return print(cli, output, { planned: plan.planned, pruned: plan.pruned }, () => text(plan));
      }
      const done = await answered(cli.client().manifests.apply(request));
      warn(cli, done, verbose);
      warnOfImages(cli, done.missingImages, imagesFile);
      const { applied, affected, pruned } = done;
      for (const m of applied) say(cli, `${m.kind.toLowerCase()}/${m.name} ${m.outcome}`);
      for (const m of pruned) say(cli, `${m.kind.toLowerCase()}/${m.name} pruned`);
      const concerned = [...applied, ...affected];
      const isConcerned = new Set(concerned.map(storeName));
      const seen = wait === false ? undefined : await waitReady(cli, concerned, pruned, waitTimeout);
      if (wait !== false && done.forks.length > 0) await waitForForks(cli, done.forks, waitTimeout);
      for (const object of seen?.values() ?? [])
        if (
          isWorkloadKind(object.kind) &&
          isConcerned.has(storeName(object)) &&
          /^ready[,;] /.test(object.message)
        )
          say(cli, `warning: ${object.kind.toLowerCase()}/${object.name}: ${object.message}`);
      say(cli, `applied ${applied.length} in ${took(performance.now() - started)}`);
      if (seen !== undefined && done.missingImages.length > 0)
        throw missingImagesError(done.missingImages, imagesFile);
      const now = applied.map(m => ({ ...m, ...seen?.get(storeName(m)) }));
      await print(cli, output, now, () => '');
    });
}

// --- internal -----------------------------------------------------------------------------------

function warnOfImages(cli: Cli, missing: ManifestPlan['missingImages'], file: string): void {
  if (missing.length > 0) say(cli, `warning: ${missingImagesLine(missing, file)}`);
}

/** What is new; what was said at an earlier deploy of the folder is only counted unless all is wanted. */
function warn(
  cli: Cli,
  { warnings, leftOut }: Pick<ManifestPlan, 'warnings' | 'leftOut'>,
  all: boolean,
): void {
  const isNew = (one: { readonly known?: boolean }) => all || !one.known;
  const texts = warnings.filter(isNew).map(({ text }) => text);
  for (const text of all ? texts : together(texts)) say(cli, `warning: ${text}`);
  const left: readonly LeftOut[] = leftOut.some(isNew) ? leftOut : [];
  for (const line of leftOutLines(left)) say(cli, `warning: ${line}${all ? '' : ' (-v lists them)'}`);
  if (all) for (const object of left) say(cli, `  ${leftOutLine(object)}`);
  const hidden = warnings.filter(one => !isNew(one)).length + (left.length === 0 ? leftOut.length : 0);
  if (hidden > 0) say(cli, `${hidden} ${hidden === 1 ? 'warning' : 'warnings'} as before (-v repeats them)`);
}

/** Charts say the same in many places: from three on, the first one stands for all. */
function together(texts: readonly string[]): readonly string[] {
  const bySentence = Map.groupBy(texts, text => text.replace(/^.*?:\d+:\d+: \S+: /, ''));
  return [...bySentence.values()].flatMap(same =>
    same.length < 3 ? same : [`${same[0]} (and in ${same.length - 1} other places; -v lists them)`],
  );
}
