/** Entry of the command line: finds the command, runs it, turns errors into sentences and exit codes. */
import { Command, CommanderError } from 'commander';
import { version } from '../lib/checkout.ts';
import { nameSourceLines } from '../lib/source-lines.ts';
import { formatProblem, type Problem } from '../model/document/problem.ts';
import { OffshootError } from '../model/errors.ts';
import { notInCluster } from './cluster.ts';
import { commands } from './commands/index.ts';
import { type Cli, createCli } from './context.ts';
import { ExitCode, ReaderGone, say, UsageError } from './output.ts';
import { flushed, hearStreams } from './streams.ts';

/** @returns the exit code */
export async function main(argv: readonly string[], cli: Cli): Promise<number> {
  const { words, env } = clusterIn(argv, cli.env);
  return run(words, env === cli.env ? cli : createCli({ ...cli, env }));
}

// --- internal -----------------------------------------------------------------------------------

/** What stands before the command and says which cluster, as the variables that it stands for. */
function clusterIn(argv: readonly string[], env: Cli['env']): { words: readonly string[]; env: Cli['env'] } {
  const [, name, value] = /^--(context|namespace)(?:=(.*))?$/.exec(argv[0] ?? '') ?? [];
  if (name === undefined || (value === undefined && argv[1] === undefined)) return { words: argv, env };
  const rest = argv.slice(value === undefined ? 2 : 1);
  return clusterIn(rest, { ...env, [`OFFSHOOT_${name.toUpperCase()}`]: value ?? argv[1] });
}

async function run(argv: readonly string[], cli: Cli): Promise<number> {
  let asJson = false;
  const program = new Command('offshoot')
    .description(
      'Branch-based environments: a forked service, a preview URL and a PostgreSQL branch of its own.',
    )
    .version(version, '-v, --version')
    .option(
      '--context <name>',
      'an installation in the cluster of this context of the kubeconfig; . is its current one',
    )
    .option('--namespace <name>', 'that of the installation there (offshoot)')
    .enablePositionalOptions() // `deploy -v` is not the version
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: text => void cli.stdout.write(text),
      writeErr: text => void cli.stderr.write(text),
      getOutHelpWidth: () => cli.stdout.columns ?? 80,
      getErrHelpWidth: () => cli.stderr.columns ?? 80,
    })
    .hook('preAction', (_program, command) => {
      asJson = command.opts().output === 'json';
      const refused = cli.env.OFFSHOOT_CONTEXT ? notInCluster(nameOf(command)) : undefined;
      if (refused !== undefined) throw refused;
    })
    .addHelpText(
      'after',
      `
Examples:
  $ offshoot up --detach                               start the daemon
  $ offshoot deploy -f k8s/                            run the baseline
  $ offshoot sandbox apply -f sandbox.yaml             fork a service, with its own database branch
  $ offshoot branch list                               see the branches
  $ offshoot down                                      stop everything

Variables:
  OFFSHOOT_HOME                       data directory of the daemon; see "offshoot up --help"
  OFFSHOOT_API_URL, OFFSHOOT_API_KEY  another daemon, and a key for it
  OFFSHOOT_CONTEXT, OFFSHOOT_NAMESPACE, OFFSHOOT_INSTALLATION
                                      an installation in a cluster: --context, --namespace, and its name (offshoot)
  OFFSHOOT_PROJECT, OFFSHOOT_BRANCH   what to work with, before what the folder is linked to`,
    );
  for (const name of neededFor(argv)) {
    const { register } = await commands[name]!.load();
    register(program, cli);
  }
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    return report(error, cli, asJson);
  }
}

/** Only the command that is called is loaded; help needs them all, the version none. */
function neededFor(argv: readonly string[]): readonly string[] {
  const all = Object.keys(commands);
  const first = argv[0] ?? '';
  if (first === '-v' || first === '--version') return [];
  const wanted = argv.find(word => !word.startsWith('-') && word !== 'help');
  const named = all.filter(name => wanted !== undefined && commands[name]!.names.includes(wanted));
  return named.length > 0 ? named : all;
}

/** The first word of a command. */
function nameOf(command: Command): string {
  const above = command.parent;
  return above === null || above.parent === null ? command.name() : nameOf(above);
}

function report(error: unknown, cli: Cli, asJson: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    return 2; // commander has printed it
  }
  if (error instanceof UsageError) {
    say(cli, `error: ${error.message}`);
    return 2;
  }
  if (error instanceof ExitCode) return error.code;
  if (error instanceof ReaderGone) return 0;
  if (cli.signal.aborted && error === cli.signal.reason) {
    say(cli, 'interrupted; what was asked for goes on in the daemon');
    return 130;
  }
  if (error instanceof OffshootError) {
    if (asJson) cli.stderr.write(`${JSON.stringify(error.toBody())}\n`);
    else sayError(error, cli);
    return error.row.exit;
  }
  say(cli, `error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return 1;
}

function sayError(error: OffshootError, cli: Cli): void {
  const problems = (error.problems ?? []) as readonly Problem[];
  for (const problem of problems) say(cli, formatProblem(problem));
  say(cli, `error: ${error.message}`);
  if (error.output) for (const line of error.output.split('\n')) say(cli, `  | ${line}`);
  if (error.hint !== undefined) say(cli, `hint: ${error.hint}`);
}

if (import.meta.main) void start();

/** No `await` at the top: a bundle is no module. */
async function start(): Promise<void> {
  nameSourceLines();
  process.exitCode = 1; // for whoever ends us before we know better
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => abort.abort(new Error(signal)));
  }
  const cli = createCli({
    env: process.env,
    cwd: process.cwd(),
    uid: process.getuid?.() ?? 1,
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    signal: abort.signal,
  });
  const failed = hearStreams(cli, abort);
  const code = await main(process.argv.slice(2), cli);
  const whole = await flushed([cli.stdout, cli.stderr], abort.signal);
  process.exitCode = failed() ?? (whole || code !== 0 ? code : 130);
  // A watch that was given up may keep its socket for a while.
  process.exit();
}
