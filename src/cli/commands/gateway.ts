import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { addressOption, identityFrom, identityOptions, withExamples } from '../options.ts';

export function register(program: Command, cli: Cli): void {
  const command = withExamples(
    program.command('gateway'),
    'OFFSHOOT_HOME=/var/lib/offshoot-gateway offshoot gateway --controller offshoot.example.com:7490 --identity gateway.pem',
  )
    .summary('previews and Postgres, apart from the daemon (a role of its own)')
    .description(
      'previews and Postgres, apart from the daemon. Where it listens, its certificate and its data directory are said by the variables of "offshoot up". See docs/operating.md.',
    )
    .requiredOption('--controller <host:port>', 'the daemon that it follows', addressOption('--controller'));
  identityOptions(command, 'who this is, from "offshoot identity gateway"').action(
    async ({ controller, ...options }) => {
      const identity = identityFrom(options, cli.env);
      const { runGateway } = await import('../../roles/gateway.ts');
      await runGateway(cli.config(), { controller, identity, signal: cli.signal });
    },
  );
}
