import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { variables } from '../../config.ts';
import { OffshootError } from '../../model/errors.ts';
import { type Cli, readClientFile } from '../context.ts';
import { ExitCode, print, say, withOutput } from '../output.ts';

const startDeadlineMs = 120_000;

export function register(program: Command, cli: Cli): void {
  withOutput(program.command('up'))
    .description('start the daemon; in the foreground until Ctrl-C')
    .option('-d, --detach', 'return as soon as it answers, and leave it running')
    .addHelpText(
      'after',
      `\nVariables:\n${Object.entries(variables)
        .map(([name, meaning]) => `  ${name.padEnd(24)}${meaning}`)
        .join(
          '\n',
        )}\n\nExamples:\n  $ offshoot up --detach\n  $ OFFSHOOT_HOME=/tmp/try OFFSHOOT_API_PORT=0 offshoot up`,
    )
    .action(async ({ detach, output }) => {
      if (detach) await startDetached(cli);
      else return runHere(cli);
      const status = await cli.client().status();
      say(cli, `offshoot is up (pid ${status.pid}); see "offshoot status"`);
      await print(cli, output, status, () => '');
    });
}

// --- internal -----------------------------------------------------------------------------------

/** The daemon itself; everything else of it is loaded only here. */
async function runHere(cli: Cli): Promise<void> {
  const { startDaemon } = await import('../../daemon.ts');
  const daemon = await startDaemon(cli.config(), cli.env);
  say(
    cli,
    `offshoot is up: API http://${daemon.api.host}:${daemon.api.port}, data in ${cli.config().home}; Ctrl-C stops it`,
  );
  cli.signal.addEventListener('abort', daemon.stop, { once: true });
  if (cli.signal.aborted) daemon.stop();
  await daemon.stopping;
  await daemon.close();
  say(cli, 'offshoot is down');
}

async function startDetached(cli: Cli): Promise<void> {
  const { home } = cli.config();
  mkdirSync(join(home, 'logs'), { recursive: true });
  const outFile = join(home, 'logs', 'daemon.out');
  const out = openSync(outFile, 'w', 0o600);
  const main = fileURLToPath(new URL('../main.ts', import.meta.url));
  // The working directory is nobody's business: a daemon must not keep a folder from being removed.
  const child = spawn(process.execPath, [main, 'up'], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', out, out],
    env: { ...cli.env, OFFSHOOT_HOME: home },
  });
  closeSync(out);
  let exit: number | undefined;
  child.on('error', () => (exit = 1));
  child.on('exit', code => (exit = code ?? 1));
  const end = performance.now() + startDeadlineMs;
  while (exit === undefined) {
    const file = readClientFile(home);
    if (file !== undefined && file.pid === child.pid) {
      child.unref();
      return;
    }
    if (cli.signal.aborted || performance.now() > end) {
      child.kill('SIGTERM');
      throw cli.signal.aborted
        ? cli.signal.reason
        : new OffshootError('api/timeout', {
            after: '2 minutes',
            what: 'the daemon to start',
            hint: `see ${outFile}`,
          });
    }
    await new Promise(resolve => setTimeout(resolve, 10));
  }
  // The child has explained itself in the same words that we would use.
  cli.stderr.write(readFileSync(outFile, 'utf8'));
  throw new ExitCode(exit === 0 ? 1 : exit);
}
