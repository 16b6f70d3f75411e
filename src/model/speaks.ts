/**
 * What a port of a Service speaks, as its manifest says: `appProtocol`, else the beginning of its name, as service
 * meshes read it (Istio, "Protocol Selection"; Kubernetes, "Service", "Application protocol"). Pure.
 */
import type { Service } from './kubernetes.ts';
import type { Found, Speaks } from './route.ts';

type ServicePort = NonNullable<Service['spec']['ports']>[number];

/** @returns undefined when nobody says it: the first bytes will */
export function declaredSpeech({
  name = '',
  appProtocol,
  protocol = 'TCP',
}: ServicePort): Speaks | undefined {
  if (protocol !== 'TCP') return 'udp';
  if (appProtocol !== undefined) return speechOf(appProtocol.toLowerCase().replace(/^kubernetes\.io\//, ''));
  return speechOf(name.toLowerCase()) ?? speechOf(name.toLowerCase().split('-')[0]!);
}

/**
 * By port of the Service.
 * @param found by port: what clients and workload were seen to speak
 */
export const speechOfPorts = (
  service: Service,
  found: Readonly<Record<number, Found>> = {},
): Readonly<Record<number, Speaks | 'unknown'>> =>
  Object.fromEntries(
    // Where a port is there for both, its TCP is shown.
    [...(service.spec.ports ?? [])]
      .sort(byTransport)
      .map(p => [p.port, declaredSpeech(p) ?? found[p.port] ?? 'unknown']),
  );

// --- internal -----------------------------------------------------------------------------------

const byTransport = (a: ServicePort, b: ServicePort): number =>
  Number(a.protocol !== 'UDP') - Number(b.protocol !== 'UDP');

const HTTP: ReadonlySet<string> = new Set(
  'http http2 h2c http1 http1.1 http/1.1 http/2 grpc grpc-web ws graphql'.split(' '),
);

/** TLS too: nothing in it can be read. */
const OTHER: ReadonlySet<string> = new Set(
  [
    'tcp tls ssl https wss grpcs mongo mongodb mysql mariadb redis rediss valkey postgres postgresql pgsql psql',
    'amqp amqps kafka nats mqtt mqtts stomp pulsar zookeeper etcd memcache memcached smtp smtps submission imap',
    'imaps pop3 pop3s ldap ldaps ssh sftp ftp dns cassandra cql thrift mssql oracle db2 rsync ntp syslog bolt',
  ]
    .join(' ')
    .split(' '),
);

const speechOf = (word: string): Found | undefined =>
  HTTP.has(word) ? 'http' : OTHER.has(word) ? 'tcp' : undefined;
