import type { Command } from 'commander';
import { type Cli, createCli } from '../context.ts';
import { addressOption, identityFrom, identityOptions, parsePort, withExamples } from '../options.ts';

export function register(program: Command, cli: Cli): void {
  const command = withExamples(
    program.command('branches'),
    'offshoot branches --node branches-0 --controller offshoot-controller:7490 --token /run/offshoot/token --ca /run/offshoot/ca.crt',
  )
    .summary('volumes and servers of branches in a Kubernetes cluster (a role of its own)')
    .description(
      'volumes and servers of branches in a Kubernetes cluster, of the projects that are placed on this node. The chart starts it; see docs/kubernetes.md. Its data directory and how volumes are made are said by the variables of "offshoot up".',
    )
    .requiredOption('--node <name>', 'of this node: whose data are in the data directory')
    .requiredOption('--controller <host:port>', 'who says who this is', addressOption('--controller'));
  identityOptions(
    command,
    'who this is: a certificate for node/NAME, its key, and that of our authority, as PEM',
  )
    .option('--namespace <name>', 'that of its objects (default: its own)')
    .option('--context <name>', 'of the kubeconfig, also in a pod')
    .option(
      '--listen <host:port>',
      'where gateways come in (default: 0.0.0.0:7495)',
      addressOption('--listen'),
    )
    .option('--advertise <address>', 'by which they reach it (default: where it listens)')
    .option('--known-as <name>', 'host under which they find it when it has another address')
    .option('--probes-port <port>', 'where it says whether it lives and is ready', parsePort, 7401)
    .action(async ({ identity, token, ca, listen = { host: '0.0.0.0', port: 7495 }, ...options }) => {
      const { runBranchNode } = await import('../../branch-node.ts');
      // It serves no clear text, wherever it listens.
      const { config, env } = createCli({ ...cli, env: { ...cli.env, OFFSHOOT_HOST: '127.0.0.1' } });
      await runBranchNode(config(), env, {
        ...{ namespace: undefined, context: undefined, advertise: listen.host, listen, ...options },
        identity: identityFrom({ identity, token, ca }, cli.env),
        signal: cli.signal,
      });
    });
}
