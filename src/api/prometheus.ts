/**
 * `GET /metrics/prometheus`: what there is and how it is, as Prometheus reads it (text format 0.0.4; names and units by its
 * best practices). All of it is at hand: no server is asked and none is woken, however often somebody looks.
 */
import { turn } from '../lib/turns.ts';
import { isLow } from '../model/room.ts';
import type { ApiContext } from './context.ts';
import { type Routes, taken } from './routes.ts';
import { sizedBranchView } from './views.ts';

export function prometheusRoutes(routes: Routes, { store, info, branches, metrics }: ApiContext): void {
  routes.get('/metrics/prometheus', async ({ response }) => {
    const now = await branches.space();
    const page = families();

    page.add('info', 'gauge', 'version of the daemon', { version: info().version }, 1);
    const { loopDelay, cpuMs, scheduler } = metrics.read();
    page.add('cpu_seconds_total', 'counter', 'processor time of the daemon', {}, cpuMs / 1000);
    for (const [quantile, ms] of [
      ['0.5', loopDelay.p50],
      ['0.99', loopDelay.p99],
      ['1', loopDelay.max],
    ] as const)
      page.add('loop_delay_seconds', 'gauge', 'from a tick of 10 ms to the next', { quantile }, ms / 1000);
    for (const [kind, counts] of Object.entries(scheduler)) {
      for (const state of ['queued', 'running', 'waiting', 'paused'] as const)
        page.add(
          'objects_reconciled',
          'gauge',
          'objects by what is done with them',
          { kind, state },
          counts[state],
        );
      page.add('reconciles_total', 'counter', 'looks at objects', { kind }, counts.looks);
      page.add('reconcile_failures_total', 'counter', 'looks that failed', { kind }, counts.failures);
    }

    if (now.room !== undefined) {
      page.add('room_free_bytes', 'gauge', 'free for branches', {}, now.room.freeBytes);
      page.add('room_total_bytes', 'gauge', 'of the file system that has the least', {}, now.room.totalBytes);
      page.add('room_low', 'gauge', 'whether branches that grow are stopped', {}, isLow(now.room) ? 1 : 0);
    }
    for (const stored of store.list('branch')) {
      await turn();
      const { project, name, id, state, size, restarts } = sizedBranchView(store, stored, now);
      const branch = { project, branch: name, id };
      page.add('branch_state', 'gauge', '1 for the state that it is in', { ...branch, state }, 1);
      page.add(
        'branch_restarts',
        'gauge',
        'how often in a row its server ended by itself',
        branch,
        restarts ?? 0,
      );
      if (size === undefined) continue;
      page.add('branch_bytes', 'gauge', 'that it takes of its own', branch, size.bytes);
      if (size.limitBytes !== null)
        page.add('branch_limit_bytes', 'gauge', 'that it may take of its own', branch, size.limitBytes);
    }
    for (const { name: sandbox, status } of store.list('sandbox')) {
      await turn();
      page.add('sandbox_ready', 'gauge', 'whether all of it is ready', { sandbox }, status?.ready ? 1 : 0);
      page.add(
        'sandbox_failed',
        'gauge',
        'whether it cannot become ready',
        { sandbox },
        status?.failed ? 1 : 0,
      );
    }

    response.writeHead(200, {
      'content-type': 'text/plain; version=0.0.4; charset=utf-8',
      'cache-control': 'no-store',
    });
    response.end(page.text());
    return taken;
  });
}

// --- internal -----------------------------------------------------------------------------------

/** Lines of one name must stand together. */
function families() {
  const lines = new Map<string, string[]>();
  return {
    add(
      name: string,
      type: 'gauge' | 'counter',
      help: string,
      labels: Readonly<Record<string, string>>,
      value: number,
    ) {
      const full = `offshoot_${name}`;
      const family = lines.get(full) ?? [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`];
      lines.set(full, family);
      const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
      family.push(`${full}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`);
    },
    text: () => `${[...lines.values()].flat().join('\n')}\n`,
  };
}

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
