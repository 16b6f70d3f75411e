import { spawn } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { variables } from '../../config.ts';
import { makeHome } from '../../home.ts';
import { programFile, version } from '../../lib/checkout.ts';
import { OffshootError } from '../../model/errors.ts';
import type { DaemonView } from '../../model/view.ts';
import { type Cli, createCli, localDaemon, type OutputFormat, readClientFile } from '../context.ts';
import { withExamples } from '../options.ts';
import { ExitCode, print, say, withOutput } from '../output.ts';
import { untilGone } from '../until-gone.ts';

const startDeadlineMs = 120_000;
/**
 * Of the daemon, also in the foreground (`offshoot` in the checkout's root): V8 copies what lives among its new objects while all wait,
 * which takes 25 to 50 ms of the 16 MB that it would have for them, and 2 of 2 MB.
 */
const shortPauses = ['--max-semi-space-size=2'];
/**
 * Of the daemon, too: those that wait for disks and programs in its stead. Node has four, in which 20 copies that each wait for the disk a
 * few times, and the starts of what is on them, keep each other and all reads of files waiting.
 */
const threads = { UV_THREADPOOL_SIZE: '32' };
/** For taking back what a start that was given up has made. */
const stopDeadlineMs = 60_000;

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('up')),
    'offshoot up --detach',
    'offshoot up --detach --replace',
    'offshoot up --host 0.0.0.0 --advertise dev.example.com --tls-generated',
    'OFFSHOOT_HOME=/tmp/try OFFSHOOT_API_PORT=0 offshoot up',
  )
    .summary('start the daemon; in the foreground until Ctrl-C')
    .description(
      'start the daemon; in the foreground until Ctrl-C. A second one on the same data is refused; with --detach, one that is up already is fine, and one of an older version is taken over from.',
    )
    .option(
      '--replace',
      'end the daemon that is up, but nothing that it runs, and take over; no connection is cut',
    )
    .option('--host <address>', 'where to listen; for OFFSHOOT_HOST')
    .option('--advertise <name>', 'how clients reach this machine; for OFFSHOOT_ADVERTISE')
    .option('--tls-cert <file>', 'certificate for API, previews and PostgreSQL; for OFFSHOOT_TLS_CERT')
    .option('--tls-key <file>', 'its key; for OFFSHOOT_TLS_KEY')
    .option('--tls-generated', 'use a certificate of "offshoot ca" instead; for OFFSHOOT_TLS=generated')
    .option('--allow-cleartext', 'no TLS, also beyond this machine; for OFFSHOOT_CLEARTEXT=allow')
    .option('-d, --detach', 'return as soon as it answers, and leave it running')
    .addHelpText('after', ['', 'Variables:', ...variableLines()].join('\n'))
    .action(async ({ detach, replace = false, output, ...listening }) => {
      const chosen = createCli({ ...cli, env: { ...cli.env, ...variablesOf(cli, listening) } });
      await (detach ? upDetached(chosen, output, replace) : upHere(chosen, output, replace));
    });
}

// --- internal -----------------------------------------------------------------------------------

const variableLines = (): readonly string[] =>
  Object.entries(variables).map(([name, meaning]) => `  ${name.padEnd(24)}${meaning}`);

type Listening = {
  readonly host?: string;
  readonly advertise?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsGenerated?: true;
  readonly allowCleartext?: true;
};

/** Options of the command, as the variables that they stand for. */
function variablesOf({ cwd }: Cli, o: Listening): Readonly<Record<string, string>> {
  return {
    ...(o.host !== undefined && { OFFSHOOT_HOST: o.host }),
    ...(o.advertise !== undefined && { OFFSHOOT_ADVERTISE: o.advertise }),
    ...(o.tlsCert !== undefined && { OFFSHOOT_TLS_CERT: resolve(cwd, o.tlsCert) }),
    ...(o.tlsKey !== undefined && { OFFSHOOT_TLS_KEY: resolve(cwd, o.tlsKey) }),
    ...(o.tlsGenerated && { OFFSHOOT_TLS: 'generated' }),
    ...(o.allowCleartext && { OFFSHOOT_CLEARTEXT: 'allow' }),
  };
}

/** The daemon itself; everything else of it is loaded only here. */
async function upHere(cli: Cli, output: OutputFormat, replace: boolean): Promise<void> {
  const running = replace ? await localDaemon(cli) : undefined;
  if (running !== undefined) await takeOverFrom(cli, running);
  const { startDaemon } = await import('../../daemon.ts');
  const options = { replaceProxy: replace, signal: cli.signal };
  const daemon = await startDaemon(cli.config(), cli.env, options).catch((error: unknown) => {
    if (!cli.signal.aborted || error !== cli.signal.reason) throw error;
    say(cli, 'interrupted before it was up; nothing was left running');
    throw new ExitCode(130);
  });
  cli.signal.addEventListener('abort', daemon.stop, { once: true });
  if (cli.signal.aborted) daemon.stop();
  const { api, home } = daemon.info();
  say(cli, `offshoot is up: API ${api.scheme}://${api.host}:${api.port}, data in ${home}; Ctrl-C stops it`);
  await print(cli, output, daemon.info(), () => '');
  if ((await daemon.stopping) === 'leave') {
    await daemon.leave();
    return say(cli, 'another daemon takes over; nothing was stopped');
  }
  await daemon.close();
  say(cli, 'offshoot is down');
}

async function upDetached(cli: Cli, output: OutputFormat, replace: boolean): Promise<void> {
  const running = await localDaemon(cli);
  const goes = running !== undefined && (replace || isOlder(running.status.version, version));
  if (goes) await takeOverFrom(cli, running);
  const stays = running !== undefined && !goes;
  const status = stays ? running.status : await startDetached(cli, replace);
  const how = goes ? `; it has taken over from version ${running.status.version}` : '';
  say(cli, `offshoot is up${stays ? ' already' : ''} (pid ${status.pid})${how}; see "offshoot status"`);
  await print(cli, output, status, () => '');
}

type Running = NonNullable<Awaited<ReturnType<typeof localDaemon>>>;

/** Ends a daemon without ending anything that it runs. */
async function takeOverFrom(cli: Cli, { client, status }: Running): Promise<void> {
  await client.shutdown({ leave: true });
  await untilGone(cli, status.pid, status.log);
}

/** Versions are numbers with dots between them. */
function isOlder(one: string, other: string): boolean {
  const [a, b] = [one, other].map(text => text.split(/[.-]/).map(Number));
  const first = a!.findIndex((part, i) => part !== b![i]);
  return first >= 0 && a![first]! < (b![first] ?? 0);
}

async function startDetached(cli: Cli, replace: boolean): Promise<DaemonView> {
  const { home, tls } = cli.config();
  const made = makeHome(home);
  const out = openSync(made.outFile, 'w+', 0o600);
  // The working directory is nobody's business: a daemon must not keep a folder from being removed.
  const args = [...shortPauses, programFile('cli/main'), 'up', ...(replace ? ['--replace'] : [])];
  const child = spawn(process.execPath, args, {
    cwd: '/',
    detached: true,
    stdio: ['ignore', out, out],
    env: {
      ...{ ...threads, ...cli.env, OFFSHOOT_HOME: home },
      // Not relative to the daemon's directory.
      ...(typeof tls === 'object' && { OFFSHOOT_TLS_CERT: tls.cert, OFFSHOOT_TLS_KEY: tls.key }),
    },
  });
  let exit: number | undefined;
  child.on('error', () => (exit = 1));
  child.on('exit', code => (exit = code ?? 1));
  const end = performance.now() + startDeadlineMs;
  let given: OffshootError | undefined;
  while (exit === undefined) {
    if (given === undefined && readClientFile(home)?.pid === child.pid) {
      const running = await localDaemon(cli);
      if (running !== undefined) {
        child.unref();
        closeSync(out);
        return running.status;
      }
    }
    const now = performance.now();
    if (given === undefined && (cli.signal.aborted || now > end)) {
      const hint = 'what it has said stands above';
      given = new OffshootError('api/timeout', { after: '2 minutes', what: 'the daemon to start', hint });
      child.kill('SIGTERM'); // it takes back what it has made
    }
    if (given !== undefined && now > end + stopDeadlineMs) child.kill('SIGKILL');
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  // The child has explained itself in the same words that we would use.
  cli.stderr.write(allOf(out));
  closeSync(out);
  await made.takeBack();
  if (given !== undefined && !cli.signal.aborted) throw given;
  throw new ExitCode(exit === 0 ? 1 : exit);
}

/** The daemon may have taken the file back. */
function allOf(file: number): Buffer {
  const bytes = Buffer.alloc(fstatSync(file).size);
  readSync(file, bytes, 0, bytes.length, 0);
  return bytes;
}
