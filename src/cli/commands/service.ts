import type { Command } from 'commander';
import { OffshootError } from '../../model/errors.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { print, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  const service = withExamples(
    program.command('service').alias('svc').description('where the services of the baseline answer'),
    'offshoot service list',
    'curl "$(offshoot service url users-service -n demo)/users"',
  );

  withExamples(withOutput(service.command('list').alias('ls')), 'offshoot service list')
    .description('all services and their addresses')
    .action(async ({ output }) => {
      const services = (await cli.client().manifests.list()).filter(m => m.kind === 'Service');
      await print(cli, output, services, list =>
        table(
          ['NAMESPACE', 'NAME', 'PORT', 'ADDRESS', 'SPEAKS'],
          list.flatMap(s =>
            Object.entries(s.addresses ?? {}).map(([port, a]) => [
              s.namespace,
              s.name,
              port,
              `${a.host}:${a.port}`,
              s.speaks?.[Number(port)] ?? 'unknown',
            ]),
          ),
        ),
      );
    });

  withExamples(
    withOutput(service.command('url <name>')),
    'curl "$(offshoot service url users-service -n demo)/users"',
  )
    .description('URL at which a service answers on this machine')
    .option('-n, --namespace <namespace>', 'its namespace', 'default')
    .option('--port <port>', 'which of its ports (default: the first)')
    .action(async (name: string, { output, namespace, port }) => {
      const found = (await cli.client().manifests.list()).find(
        m => m.kind === 'Service' && m.name === name && m.namespace === namespace,
      );
      const addresses = found?.addresses ?? {};
      const [first] = Object.keys(addresses);
      const wanted = Number(port ?? first);
      const address = addresses[wanted];
      if (address === undefined) {
        // One of type ExternalName is a name in pods, and nothing else.
        const isName = found !== undefined && first === undefined;
        const hint = isName ? `pods find it by its name: ${found.message}` : 'see "offshoot service list"';
        throw new OffshootError('api/not-found', {
          kind: isName ? 'an address of service' : 'service',
          name: `${namespace}/${name}${port ? `:${port}` : ''}`,
          hint,
        });
      }
      const speaks = found?.speaks?.[wanted] ?? 'unknown';
      const scheme = speaks === 'tcp' || speaks === 'udp' ? speaks : 'http';
      const url = `${scheme}://${address.host}:${address.port}`;
      await print(cli, output, { name, namespace, url }, s => s.url);
    });
}
