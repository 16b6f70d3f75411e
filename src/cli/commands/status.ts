import type { Command } from 'commander';
import { bytesText } from '../../model/bytes.ts';
import { leftFor } from '../../model/room.ts';
import type { FollowerView, ManifestView, ProxyView, RoomView, TrashView } from '../../model/view.ts';
import { isWorkloadKind } from '../../model/workload.ts';
import type { Cli } from '../context.ts';
import { withExamples } from '../options.ts';
import { age, left, print, table, withOutput } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(withOutput(program.command('status')), 'offshoot status', 'offshoot status -o json')
    .description('what runs: daemon, baseline, sandboxes')
    .action(async ({ output }) => {
      const client = cli.client();
      const [daemon, manifests, sandboxes, projects, trash] = await Promise.all([
        client.status(),
        client.manifests.list(),
        client.sandboxes.list(),
        client.projects.list(),
        client.trash.list(),
      ]);
      await print(cli, output, { daemon, manifests, sandboxes, projects, trash }, () =>
        [
          `daemon     pid ${daemon.pid}, version ${daemon.version}, data in ${daemon.home}`,
          `API        ${daemon.api.scheme}://${daemon.api.host}:${daemon.api.port}`,
          `previews   ${daemon.preview.scheme}://<endpoint>--<sandbox>.preview.${daemon.preview.domain}:${daemon.preview.port}`,
          `PostgreSQL ${daemon.postgres.host}:${daemon.postgres.port}${daemon.postgres.sslmode ? ', TLS required' : ', with or without TLS'}, volumes: ${daemon.volumes.driver} (${daemon.volumes.why})`,
          ...(daemon.listen === daemon.api.host ? [] : [`listens    on ${daemon.listen}`]),
          ...(daemon.room === undefined ? [] : [`room       ${roomText(daemon.room)}`]),
          ...daemon.proxies.map(proxyLine),
          ...(daemon.feed?.followers ?? []).map(followerLine),
          ...(daemon.engine === undefined
            ? []
            : [`engine     ${daemon.engine.title} at ${daemon.engine.socket}, for images without an entry`]),
          `log        ${daemon.log}`,
          ...(trash.length === 0 ? [] : [`trash      ${trashLine(trash)}`]),
          ...daemon.leftovers.map(l => `leftover   ${l}`),
          '',
          table(
            ['KIND', 'NAMESPACE', 'NAME', 'STATUS', 'MESSAGE'],
            sorted(manifests).map(m => [
              m.kind,
              m.namespace,
              m.name,
              m.ready ? 'Ready' : m.reason,
              m.message,
            ]),
          ),
          ...sorted(manifests).flatMap(m => (m.log ?? []).map(line => `  ${m.name} | ${line}`)),
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

/** Namespaces one after the other, each with what runs first. */
function sorted(manifests: readonly ManifestView[]): readonly ManifestView[] {
  const rank = ({ kind }: ManifestView) => (isWorkloadKind(kind) ? 0 : kind === 'Service' ? 1 : 2);
  const namespaceOf = ({ namespace, name }: ManifestView) => namespace || name;
  const compare = (a: string, b: string) => Number(a > b) - Number(a < b);
  return manifests.toSorted(
    (a, b) => compare(namespaceOf(a), namespaceOf(b)) || rank(a) - rank(b) || compare(a.kind, b.kind),
  );
}

function proxyLine({ version, pid, connections: { http, sql, tcp }, drainingSince }: ProxyView): string {
  const draining =
    drainingSince === undefined ? '' : `, replaced ${age(drainingSince)} ago: serves what it has`;
  return `proxy      pid ${pid}, version ${version}, connections: ${http} HTTP, ${sql} SQL, ${tcp} passing through${draining}`;
}

const followerLine = ({ destination, peer, version, upToDate }: FollowerView): string =>
  `follows    ${destination} from ${peer}, version ${version}${upToDate ? '' : ', behind'}`;

function trashLine(entries: readonly TrashView[]): string {
  const known = entries.flatMap(e => (e.bytes === undefined ? [] : [e.bytes]));
  const bytes = known.length === 0 ? '' : `, ${bytesText(known.reduce((sum, b) => sum + b, 0))}`;
  const first = entries.map(e => e.until).sort()[0]!;
  const count = entries.length === 1 ? '1 entry' : `${entries.length} entries`;
  return `${count}${bytes}; the first goes in ${left(first)}; see "offshoot trash list"`;
}

function roomText(room: RoomView): string {
  const { where, totalBytes, reserveBytes, low } = room;
  const left = bytesText(Math.max(0, leftFor(room)));
  const kept = `, and ${bytesText(reserveBytes)} that only main branches may use`;
  return `${left} of ${bytesText(totalBytes)} left in ${where}${kept}${low ? '; LOW: branches that grow are stopped' : ''}`;
}
