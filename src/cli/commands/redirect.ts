import type { Command } from 'commander';
import type { Cli } from '../context.ts';
import { portPairs, withExamples } from '../options.ts';
import { say } from '../output.ts';

export function register(program: Command, cli: Cli): void {
  withExamples(program.command('redirect'), 'offshoot redirect --port 17401:8080 --direct 17451:8080')
    .summary("leads a pod's ports to the sidecar beside its program (in an init container)")
    .description(
      "leads a pod's ports to the sidecar beside its program. It changes the network that it runs in by nftables, needs NET_ADMIN for it, and ends. The webhook puts it into pods; see docs/kubernetes.md.",
    )
    .requiredOption(
      '--port <listen:program>',
      'what comes to PROGRAM goes to LISTEN; several',
      portPairs('--port'),
    )
    .option(
      '--direct <listen:program>',
      'what comes to LISTEN goes to PROGRAM, without the sidecar: for probes; several',
      portPairs('--direct'),
    )
    .action(async ({ port: ports, direct = [] }) => {
      const { redirect } = await import('../../redirect.ts');
      await redirect({ ports, direct });
      say(
        cli,
        `connections to ${ports.map(({ program }: { program: number }) => program).join(', ')} go to the sidecar`,
      );
    });
}
