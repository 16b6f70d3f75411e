/** Waiting until a sandbox is ready, with progress by step. */
import { OffshootError } from '../model/errors.ts';
import type { SandboxView } from '../model/view.ts';
import type { Cli } from './context.ts';
import { createProgress } from './progress.ts';
import { applySteps } from './sandbox-progress.ts';
import { waitFor } from './wait.ts';

/**
 * @param applied as of when it is waited from
 * @throws OffshootError sandbox/not-ready as soon as it cannot become so by itself, api/timeout, api/not-found
 */
export async function waitForSandbox(
  cli: Cli,
  applied: SandboxView,
  timeoutMs: number,
): Promise<SandboxView> {
  const { name, generation } = applied;
  const progress = createProgress(cli);
  let view = applied;
  try {
    await waitFor<SandboxView>(cli, {
      kind: 'sandbox',
      name,
      timeoutMs,
      what: `sandbox "${name}" to be ready`,
      hint: `it was applied and goes on; look with "offshoot sandbox get ${name}"`,
      probe: objects => {
        const seen = objects.get(name);
        if (seen === undefined)
          throw new OffshootError('api/not-found', {
            kind: 'sandbox',
            name,
            hint: 'somebody deleted it meanwhile',
          });
        view = seen;
        progress.show(applySteps(seen));
        const { status } = seen;
        if (status.observedGeneration < generation) return undefined;
        if (status.failed) throw failure(seen);
        return status.ready ? true : undefined;
      },
      last: objects => objects.get(name)?.status.message,
    });
  } finally {
    progress.end();
  }
  return view;
}

// --- internal -----------------------------------------------------------------------------------

function failure({ name, status }: SandboxView): OffshootError {
  const resource = status.resources.find(r => r.failed);
  const output = resource?.output ?? status.migration?.log ?? status.forks.find(f => !f.ready)?.log;
  const more = output === undefined ? {} : { output: output.join('\n') };
  return new OffshootError('sandbox/not-ready', { name, why: status.message, hint: resource?.hint }, more);
}
