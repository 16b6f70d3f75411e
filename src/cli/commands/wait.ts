import type { Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import { type ProgramSelector, parseProgramSelector } from '../../model/program-selector.ts';
import type { ManifestView, SandboxView } from '../../model/view.ts';
import { isWorkloadKind } from '../../model/workload.ts';
import type { Cli } from '../context.ts';
import { waitReady } from '../deploy-wait.ts';
import { timeoutOption, withExamples } from '../options.ts';
import { say, took, UsageError } from '../output.ts';
import { waitForSandbox } from '../sandbox-wait.ts';
import { chooseProject } from '../target.ts';
import { waitForBranch } from './branch.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    program.command('wait [of...]'),
    'offshoot wait                                    until baseline and sandboxes are ready',
    'offshoot wait deployment/users -n demo',
    'offshoot wait sandbox/fix-42 branch/main --wait-timeout 30s',
  )
    .description('return when everything, or what is named, is ready')
    .option('-n, --namespace <namespace>', 'only workloads of this namespace')
    .option('-p, --project <project>', 'of branches')
    .addOption(timeoutOption('5m'))
    .action(async (of: string[], { namespace, project: flag, waitTimeout }) => {
      const started = performance.now();
      const left = () => Math.max(1, Math.ceil(waitTimeout - (performance.now() - started)));
      const selectors = of.map(parseProgramSelector);
      const { manifests, sandboxes } = await chosen(cli, selectors, namespace);
      const branches = selectors.flatMap(one => (one.of === 'branch' ? [one.name] : []));
      const project = branches.length === 0 ? '' : await chooseProject(cli, flag);
      if (manifests.length > 0) await waitReady(cli, manifests, [], left());
      for (const sandbox of sandboxes) await waitForSandbox(cli, sandbox, left());
      for (const name of branches) await waitForBranch(cli, project, name, left());
      say(cli, `ready (waited ${took(performance.now() - started)})`);
    });
}

// --- internal -----------------------------------------------------------------------------------

/** @throws OffshootError api/not-found; UsageError for what is never ready */
async function chosen(
  cli: Cli,
  selectors: readonly ProgramSelector[],
  namespace: string | undefined,
): Promise<{ readonly manifests: readonly ManifestView[]; readonly sandboxes: readonly SandboxView[] }> {
  const client = cli.client();
  const isEverything = selectors.length === 0;
  const needsBaseline = isEverything || selectors.some(one => one.of === 'workload');
  const all = (needsBaseline ? await client.manifests.list() : []).filter(
    one => namespace === undefined || one.namespace === namespace,
  );
  if (isEverything) {
    const sandboxes = await client.sandboxes.list();
    return { manifests: all, sandboxes: sandboxes.filter(({ deletedAt }) => deletedAt === undefined) };
  }
  const manifests = selectors.flatMap(one => {
    if (one.of !== 'workload') return [];
    const found = all.filter(
      ({ kind, name }) =>
        isWorkloadKind(kind) && name === one.name && (one.kind === undefined || one.kind === kind),
    );
    const hint = 'see "offshoot status"';
    if (found.length === 0)
      throw new OffshootError('api/not-found', { kind: one.kind ?? 'workload', name: one.name, hint });
    return found;
  });
  const names = selectors.flatMap(one => {
    if (one.of === 'resource' || (one.of === 'sandbox' && one.fork !== undefined))
      throw new UsageError(`a sandbox is ready as a whole: write sandbox/${one.sandbox}`);
    return one.of === 'sandbox' ? [one.sandbox] : [];
  });
  return { manifests, sandboxes: await Promise.all(names.map(name => client.sandboxes.get(name))) };
}
