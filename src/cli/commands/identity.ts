import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('identity')),
    '(umask 077; offshoot identity gateway > gateway.pem)',
    '(umask 077; offshoot identity workload/shop/users > users.pem)',
  )
    .argument('<name>', 'gateway, or workload/ with NAMESPACE/NAME of a Deployment or KIND/NAMESPACE/NAME')
    .summary('what a gateway or a sidecar started apart proves with who it is')
    .description(
      'what a gateway or a sidecar started apart proves with who it is: a certificate, its key, and that of our authority, as PEM, for a year. Whoever has it is told what that one is told.',
    )
    .action(async (name: string, { output }) => {
      const made = await cli.client().identity(name);
      if (cli.stdout.isTTY) say(cli, 'this holds a key: keep it in a file that only its user can read');
      await print(cli, output, made, ({ identity }) => identity.trimEnd());
    });
}
