import type { Command } from 'commander';
import type { ProxyView } from '../../model/view.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { age, print, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('status')), 'offshoot status', 'offshoot status -o json')
    .description('what runs: daemon, baseline, sandboxes')
    .action(async ({ output }) => {
      const client = cli.client();
      const [daemon, manifests, sandboxes, projects] = await Promise.all([
        client.status(),
        client.manifests.list(),
        client.sandboxes.list(),
        client.projects.list(),
      ]);
      await print(cli, output, { daemon, manifests, sandboxes, projects }, () =>
        [
          `daemon     pid ${daemon.pid}, version ${daemon.version}, data in ${daemon.home}`,
          `API        http://${daemon.api.host}:${daemon.api.port}`,
          `previews   ${daemon.preview.scheme}://<endpoint>--<sandbox>.preview.${daemon.preview.domain}:${daemon.preview.port}`,
          `PostgreSQL ${daemon.postgres.host}:${daemon.postgres.port}, volumes: ${daemon.volumes.driver} (${daemon.volumes.why})`,
          ...daemon.proxies.map(proxyLine),
          `log        ${daemon.log}`,
          ...daemon.leftovers.map(l => `leftover   ${l}`),
          '',
          table(
            ['KIND', 'NAMESPACE', 'NAME', 'STATUS', 'MESSAGE'],
            manifests.map(m => [m.kind, m.namespace, m.name, m.ready ? 'Ready' : m.reason, m.message]),
          ),
          ...manifests.flatMap(m => (m.log ?? []).map(line => `  ${m.name} | ${line}`)),
          '',
          table(
            ['SANDBOX', 'STATUS', 'MESSAGE'],
            sandboxes.map(s => [s.name, s.status.ready ? 'Ready' : s.status.reason, s.status.message]),
          ),
        ].join('\n'),
      );
    });
}

// --- internal -----------------------------------------------------------------------------------

function proxyLine({ version, pid, connections: { http, sql }, drainingSince }: ProxyView): string {
  const draining =
    drainingSince === undefined ? '' : `, replaced ${age(drainingSince)} ago: serves what it has`;
  return `proxy      pid ${pid}, version ${version}, connections: ${http} HTTP, ${sql} SQL${draining}`;
}
