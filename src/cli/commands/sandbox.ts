import type { Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import type { SandboxView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { waitForForks } from '../deploy-wait.ts';
import { environmentAs, parseForm } from '../environment.ts';
import { parseCount, timeoutOption, withExamples } from '../options.ts';
import { age, print, say, table, took, UsageError, withOutput, write } from '../output.ts';
import { createProgress } from '../progress.ts';
import { codeOf, findProjectFile, readProject } from '../project-file.ts';
import { readSource } from '../read-file.ts';
import { deleteSteps } from '../sandbox-progress.ts';
import { waitForSandbox } from '../sandbox-wait.ts';
import { templateOptions, withDocument } from '../template-options.ts';
import { waitFor } from '../wait.ts';
import { showLogs } from './logs.ts';

export function register(program: Command, cli: Cli): void {
  const sandbox = withExamples(
    program
      .command('sandbox')
      .alias('sb')
      .description('forked services with routes and resources of their own'),
    'offshoot sandbox apply -f sandbox.yaml --set cluster=local',
    'offshoot sandbox get xata-test',
    'offshoot sandbox logs xata-test',
    'offshoot sandbox delete xata-test',
  );
  const define = (usage: string, ...examples: readonly string[]) =>
    withExamples(sandbox.command(usage), ...examples);

  withOutput(
    withDocument(
      define(
        'apply',
        'offshoot sandbox apply -f sandbox.yaml --set cluster=local',
        'offshoot sandbox apply -f sandbox.yaml --dry-run',
      ),
    ),
  )
    .description('create or change a sandbox; ready when this returns')
    .option(
      '--config <file>',
      'offshoot.yaml that says how images of its forks run (default: searched upwards from -f)',
    )
    .option('--no-wait', 'return before it is ready')
    .option('--wait', 'wait until it is ready (the default)')
    .addOption(timeoutOption('3m'))
    .option('--dry-run', 'only check and print the document')
    .action(async ({ output, filename, set, config, wait, waitTimeout, dryRun }) => {
      const started = performance.now();
      const source = await readSource(cli, filename);
      const { readSandbox } = await import('../../model/document/sandbox.ts');
      const { sandbox: document, warnings } = readSandbox(source, templateOptions(cli, filename, set));
      for (const warning of warnings) say(cli, `warning: ${warning}`);
      if (dryRun) return print(cli, output === 'text' ? 'yaml' : output, document, () => '');
      const project = findProjectFile(cli, filename, config);
      const applied = await cli
        .client()
        .sandboxes.apply(document, project && codeOf(await readProject(cli, project)));
      say(cli, `sandbox ${applied.name} ${applied.outcome} (routing key ${applied.routingKey})`);
      for (const warning of applied.warnings)
        if (!warnings.includes(warning)) say(cli, `warning: ${warning}`);
      const { changed, migrates, ...shown } = applied;
      if (migrates) say(cli, 'its migrations have changed, they run');
      for (const { forkOf } of changed)
        say(cli, `fork ${forkOf.namespace}/${forkOf.name}: its code has changed, it starts anew`);
      let view: SandboxView = shown;
      if (wait !== false) {
        if (changed.length > 0) await waitForForks(cli, changed, waitTimeout);
        view = await waitForSandbox(cli, applied, waitTimeout);
        say(cli, `ready in ${took(performance.now() - started)}`);
        for (const { status, type, message } of view.status.conditions)
          if (type === 'Routed' && status === 'False') say(cli, `warning: ${message}`);
      }
      await print(cli, output, view, endpointTable);
    });

  withOutput(define('get <name>', 'offshoot sandbox get xata-test', 'offshoot sandbox get xata-test -o json'))
    .description('one sandbox in full')
    .action(async (name: string, { output }) => {
      const found = await cli.client().sandboxes.get(name);
      await print(cli, output, found, describe);
    });

  withOutput(define('list', 'offshoot sandbox list'))
    .alias('ls')
    .description('all sandboxes')
    .action(async ({ output }) => {
      const sandboxes = await cli.client().sandboxes.list();
      await print(cli, output, sandboxes, list =>
        table(
          ['NAME', 'ROUTING KEY', 'DESCRIPTION', 'CLUSTER', 'AGE', 'STATUS'],
          list.map(s => [
            s.name,
            s.routingKey,
            s.spec.description ?? '-',
            s.spec.cluster,
            age(s.createdAt),
            statusWord(s),
          ]),
        ),
      );
    });

  define(
    'delete [name]',
    'offshoot sandbox delete xata-test',
    'offshoot sandbox delete -f sandbox.yaml --if-exists',
  )
    .description('remove a sandbox; process, branch, route and files are gone when this returns')
    .option('-f, --filename <file>', 'take the name from this document; - reads standard input')
    .option(
      '--set <var=val>',
      'value of a template variable @{var}',
      (v: string, all: string[]) => [...all, v],
      [],
    )
    .option('--force', "do not run the plugins' delete steps")
    .option('--recursive', 'also remove, for good, the branches that grow from its own')
    .option('--if-exists', 'a sandbox that is not there is fine')
    .option('--no-wait', 'return before it is gone')
    .addOption(timeoutOption('5m'))
    .action(
      async (
        argument: string | undefined,
        { filename, set, force, recursive, ifExists, wait, waitTimeout },
      ) => {
        if ((argument === undefined) === (filename === undefined))
          throw new UsageError('name the sandbox, or a file with -f');
        const name = argument ?? (await nameIn(cli, filename, set));
        await deleteSandbox(cli, name, {
          force: force ?? false,
          recursive: recursive ?? false,
          ifExists: ifExists ?? false,
          wait,
          timeoutMs: waitTimeout,
        });
      },
    );

  withOutput(
    define(
      'logs <name>',
      'offshoot sandbox logs xata-test -n 20',
      'offshoot sandbox logs xata-test --resource usersDb',
    ),
  )
    .description("log of a fork, or a failed resource's output")
    .option('-w, --workload <workload>', 'which fork (default: all)')
    .option('--resource <resource>', 'a resource instead of a fork')
    .option('-n, --lines <n>', 'how many of the newest lines', parseCount, 200)
    .action(async (name: string, { output, workload, resource, lines }) => {
      const of = resource === undefined ? `sandbox/${name}` : `resource/${name}/${resource}`;
      const filter = { of: [workload === undefined ? of : `${of}/${workload}`], lines };
      await showLogs(cli, filter, { output, plain: workload !== undefined || resource !== undefined });
    });

  withOutput(
    define(
      'get-env <name>',
      'eval "$(offshoot sandbox get-env xata-test)"',
      'offshoot sandbox get-env xata-test --format dotenv > .env',
      'offshoot sandbox get-env xata-test -o json',
    ),
  )
    .description('environment of a fork, to run the service by hand, e.g. in a debugger; it holds passwords')
    .option('-w, --workload <workload>', 'which fork (default: the first)')
    .option(
      '--format <format>',
      'shell (for eval), or dotenv (for readers of .env files)',
      parseForm,
      'shell',
    )
    .action(async (name: string, { output, workload, format }) => {
      const environment = await cli.client().sandboxes.environment(name, { workload });
      if (output !== 'text') return await print(cli, output, environment, String);
      // For a program, so exactly.
      await write(cli, environmentAs(format, environment));
    });
}

type DeleteOptions = {
  readonly force: boolean;
  readonly recursive: boolean;
  /** One that is not there is fine. */
  readonly ifExists: boolean;
  readonly wait: boolean;
  readonly timeoutMs: number;
};

/** Deletes a sandbox, and waits for its end where that is asked for. @throws OffshootError api/timeout, sandbox/* */
export async function deleteSandbox(cli: Cli, name: string, options: DeleteOptions): Promise<void> {
  const started = performance.now();
  let first: SandboxView & { already: boolean };
  try {
    const { force, recursive } = options;
    first = await cli.client().sandboxes.delete(name, { force, recursive });
  } catch (error) {
    if (!(error instanceof OffshootError && error.row.http === 404 && options.ifExists)) throw error;
    return say(cli, `${error.message}; nothing to do`);
  }
  if (first.already) say(cli, `sandbox "${name}" is being deleted already`);
  if (!options.wait) return say(cli, `sandbox "${name}" is being deleted`);
  const progress = createProgress(cli);
  try {
    await waitFor<SandboxView>(cli, {
      kind: 'sandbox',
      name,
      timeoutMs: options.timeoutMs,
      what: `sandbox "${name}" to be gone`,
      hint: `it goes on; "offshoot sandbox get ${name}" says what it waits for, --force gives up on the plugins' delete steps`,
      probe: objects => {
        const seen = objects.get(name);
        progress.show(deleteSteps(seen, first));
        // Nothing that we could wait for: somebody has to decide.
        if (seen?.status.reason === 'SandboxHasChildren')
          throw new OffshootError('sandbox/delete-blocked', { name, why: seen.status.message });
        return seen === undefined ? true : undefined;
      },
      last: objects => objects.get(name)?.status.message,
    });
  } finally {
    progress.end();
  }
  say(cli, `sandbox "${name}" is gone (${took(performance.now() - started)})`);
}

// --- internal -----------------------------------------------------------------------------------

async function nameIn(cli: Cli, file: string, set: readonly string[]): Promise<string> {
  const { readSandboxName } = await import('../../model/document/sandbox.ts');
  return readSandboxName(await readSource(cli, file), templateOptions(cli, file, set));
}

const statusWord = ({ status, deletedAt }: SandboxView): string =>
  deletedAt !== undefined
    ? 'Deleting'
    : status.ready
      ? 'Ready'
      : status.failed
        ? `Failed: ${status.reason}`
        : 'Not Ready';

const endpointTable = ({ endpoints }: SandboxView): string =>
  endpoints.length === 0
    ? ''
    : table(
        ['SANDBOX ENDPOINT', 'TYPE', 'URL'],
        endpoints.map(e => [e.name, e.routeType, e.url]),
      );

function describe(view: SandboxView): string {
  const { name, spec, routingKey, status, createdAt } = view;
  return [
    `name         ${name}`,
    `status       ${statusWord(view)}: ${status.message}`,
    `routing key  ${routingKey}`,
    `cluster      ${spec.cluster}`,
    `created      ${createdAt} (${age(createdAt)} ago)`,
    ...(status.scheduledDeleteTime ? [`deleted at   ${status.scheduledDeleteTime}`] : []),
    ...status.conditions.map(c => `condition    ${c.type}=${c.status} ${c.reason}: ${c.message}`),
    ...status.resources.map(
      r => `resource     ${r.name} (${r.plugin}): ${r.ready ? 'ready' : (r.message ?? 'not ready')}`,
    ),
    ...status.resources.flatMap(r => (r.output ?? []).map(line => `             | ${line}`)),
    ...(status.migration?.log ?? []).map(line => `             | ${line}`),
    ...status.forks.map(
      f =>
        `fork         ${f.forkOf.namespace}/${f.forkOf.name}: ${f.reason}, ${f.restarts} restarts: ${f.message}`,
    ),
    ...status.forks.flatMap(f =>
      Object.entries(f.disks ?? {}).map(
        ([claim, began]) =>
          `disk         ${claim} of ${f.forkOf.namespace}/${f.forkOf.name}: began ${began === 'copy' ? "as a copy of the baseline's" : 'empty'}`,
      ),
    ),
    ...status.forks.flatMap(f => (f.log ?? []).map(line => `             | ${line}`)),
    ...view.endpoints.map(e => `endpoint     ${e.name}: ${e.url} -> ${e.target}`),
  ].join('\n');
}
