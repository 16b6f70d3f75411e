import type { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, say, UsageError, withOutput } from '../output.ts';
import { readAuthority, trustAuthority } from '../trust.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    withOutput(program.command('ca')),
    'offshoot ca > offshoot-ca.pem',
    'sudo offshoot ca --install offshoot-ca.pem',
    'psql "$(offshoot branch url main --sslmode verify-full --sslrootcert offshoot-ca.pem)"',
    'NODE_EXTRA_CA_CERTS=offshoot-ca.pem node app.js',
  )
    .summary('the certificate of the authority that clients have to trust')
    .description(
      'the certificate of the authority that clients have to trust, as PEM. It is no secret. Where certificates were given with OFFSHOOT_TLS_CERT there is none.',
    )
    .option('--install [file]', 'have this system trust it: the one in a file, or that of the daemon')
    .option('--uninstall [file]', 'have this system not trust it any more')
    .action(async ({ output, install, uninstall }) => {
      if (install !== undefined && uninstall !== undefined)
        throw new UsageError('--install and --uninstall do not go together');
      const chosen = install ?? uninstall;
      if (chosen !== undefined) return await trust(cli, chosen, install !== undefined);
      const authority = await cli.client().authority();
      if (cli.stdout.isTTY) say(cli, 'to trust it on this machine: "offshoot ca --install"');
      await print(cli, output, authority, ({ certificate }) => certificate.trimEnd());
    });
}

// --- internal -----------------------------------------------------------------------------------

/** Beside what the PATH says: of an ordinary user it lacks them. */
const SYSTEM_PROGRAMS = '/usr/sbin:/sbin:/usr/bin:/bin';

async function trust(cli: Cli, chosen: string | true, wanted: boolean): Promise<void> {
  const authority: X509Certificate = readAuthority(
    chosen === true
      ? (await cli.client().authority()).certificate
      : await readFile(resolve(cli.cwd, chosen), 'utf8'),
  );
  const file = await trustAuthority(authority, wanted, { path: SYSTEM_PROGRAMS });
  const name = authority.subject.replace(/^.*CN=/s, '');
  say(
    cli,
    wanted
      ? `this system trusts ${name} (${file}); whoever has tls/ca-key.pem of its data directory can be any server for it`
      : `this system does not trust ${name} any more`,
  );
}
