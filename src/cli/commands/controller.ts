import type { Command } from 'commander';
import { version } from '../../lib/checkout.ts';
import type { PreviewSite } from '../../model/endpoint.ts';
import { type Cli, createCli } from '../context.ts';
import { addressOption, parsePort, withExamples } from '../options.ts';
import { UsageError } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(
    program.command('controller'),
    'offshoot controller --baseline-namespace demo --previews https://dev.example.com',
    'offshoot controller --context kind-dev --namespace offshoot --baseline-namespace demo',
  )
    .summary('what decides in a Kubernetes cluster (a role of its own)')
    .description(
      'what decides in a Kubernetes cluster: it looks after the objects of one namespace, and its forks run beside what they are forks of. In a pod it is who the pod is, elsewhere who the kubeconfig says. The chart starts it; see docs/kubernetes.md. Ports, names and data directory are said by the variables of "offshoot up".',
    )
    .option(
      '--name <name>',
      'of the installation, which its accounts, Secrets and Services begin with',
      'offshoot',
    )
    .option('--namespace <name>', 'that of its objects (default: its own)')
    .option(
      '--secrets-namespace <name>',
      'that of its authority and keys, which none but controllers need to read (default: that of its objects)',
    )
    .option('--context <name>', 'of the kubeconfig, also in a pod')
    .option(
      '--baseline-namespace <name>',
      'whose workloads may be forked (none); several, or * for all',
      names,
    )
    .option('--runner-namespace <name>', 'further ones where plugins may run their steps; several', names)
    .option('--image <name>', 'the one that runs this, for what runs beside a step', `offshoot:${version}`)
    .option('--previews <url>', 'where people find previews', site, site('http://localhost:7480'))
    .option(
      '--postgres <host:port>',
      'where programs in the cluster find branches',
      addressOption('--postgres'),
      { host: 'localhost', port: 7432 },
    )
    .option('--webhooks <name>', 'of its webhook configurations; without it no pod gets a sidecar')
    .option('--webhook-port <port>', 'where the API server asks', parsePort, 7443)
    .option('--sidecar-resources <json>', 'resources of a container, for sidecars', json, {})
    .option('--sidecar-pull-policy <word>', 'when their image is pulled', 'IfNotPresent')
    .option('--probes-port <port>', 'where it says whether it lives and is ready', parsePort, 7401)
    .action(async ({ baselineNamespace = [], runnerNamespace = [], ...options }) => {
      const { runController } = await import('../../controller.ts');
      const { env } = createCli({
        ...cli,
        env: { ...defaults, ...cli.env, OFFSHOOT_DOMAIN: options.previews.domain },
      });
      const all = baselineNamespace.includes('*');
      await runController(createCli({ ...cli, env }).config(), env, {
        ...{ namespace: undefined, secretsNamespace: undefined, context: undefined, ...options },
        runnerNamespaces: runnerNamespace,
        baselineNamespaces: all ? undefined : baselineNamespace,
        signal: cli.signal,
      });
    });
}

// --- internal -----------------------------------------------------------------------------------

/** Who follows it comes over a network. */
const defaults = { OFFSHOOT_TLS: 'generated', OFFSHOOT_FEED_PORT: '7490' };

function json(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
  } catch {} // said below
  throw new UsageError(`--sidecar-resources must be an object as JSON, not ${text}`);
}

const names = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

function site(text: string): PreviewSite {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const scheme = url?.protocol.slice(0, -1);
  if ((scheme !== 'http' && scheme !== 'https') || url!.pathname !== '/')
    throw new UsageError(`--previews must be a URL such as https://dev.example.com, not ${text}`);
  return { domain: url!.hostname, scheme, port: Number(url!.port) || (scheme === 'http' ? 80 : 443) };
}
