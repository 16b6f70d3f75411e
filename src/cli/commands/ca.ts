import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('ca')),
    'offshoot ca > offshoot-ca.pem',
    'psql "$(offshoot branch url main --sslmode verify-full --sslrootcert offshoot-ca.pem)"',
    'NODE_EXTRA_CA_CERTS=offshoot-ca.pem node app.js',
  )
    .summary('the certificate of the authority that clients have to trust')
    .description(
      'the certificate of the authority that clients have to trust, as PEM. It is no secret. Where certificates were given with OFFSHOOT_TLS_CERT there is none.',
    )
    .action(async ({ output }) => {
      const authority = await cli.client().authority();
      if (cli.stdout.isTTY) say(cli, 'to trust it on this machine see docs/encryption.md');
      await print(cli, output, authority, ({ certificate }) => certificate.trimEnd());
    });
}
