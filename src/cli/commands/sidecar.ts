import type { Command } from 'commander';
import { version } from '../../lib/checkout.ts';
import type { Cli } from '../context.ts';
import {
  addressOption,
  identityFrom,
  identityOptions,
  parseCount,
  portPairs,
  withExamples,
} from '../options.ts';
import { UsageError } from '../output.ts';

export function register(program: Command, cli: Pick<Cli, 'env' | 'signal'>): void {
  const command = withExamples(
    program.command('sidecar'),
    'offshoot sidecar --workload shop/users --port 15001:8080 --controller offshoot.example.com:7490 --identity users.pem',
  )
    .summary('the router of one workload, beside its program (a role of its own)')
    .description(
      'the router of one workload, beside its program. Connections that are led to LISTEN get to PROGRAM, except requests with the routing key of a fork, which get to the fork. See docs/operating.md.',
    )
    .requiredOption('--workload <path>', 'NAMESPACE/NAME of a Deployment, or KIND/NAMESPACE/NAME')
    .requiredOption(
      '--port <listen:program>',
      'where it listens for which port of the program; several',
      portPairs('--port'),
    )
    .requiredOption('--controller <host:port>', 'who tells where keys lead', addressOption('--controller'));
  identityOptions(command, 'who this is, from "offshoot identity"')
    .option('--host <address>', 'address to listen on (default: all)')
    .option('--program-host <address>', 'where the program is reached', '127.0.0.1')
    .option('--probe-port <number>', 'where it takes connections, and ends them, once it listens', parseCount)
    .option(
      '--header <name>',
      'further header that carries the key, before it is told which do; several',
      names,
    )
    .option('--id <text>', 'what tells it from others of its workload; of a pod its uid')
    .option('--table <file>', 'where to keep what it was told, for its next start')
    .option('--log <level>', 'debug, info, warn, error', 'info')
    .action(async ({ workload, port, header = [], log, identity, token, ca, ...options }) => {
      const { runSidecar } = await import('../../sidecar.ts');
      if (!/^([A-Za-z0-9.-]+\/){1,2}[A-Za-z0-9.-]+$/.test(workload))
        throw new UsageError('--workload must be NAMESPACE/NAME or KIND/NAMESPACE/NAME');
      await runSidecar({
        identity: identityFrom({ identity, token, ca }, cli.env),
        ...{ ...options, workload, ports: port, headers: header, logLevel: log, version },
        signal: cli.signal,
      });
    });
}

// --- internal -----------------------------------------------------------------------------------

const names = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  text.toLowerCase(),
];
