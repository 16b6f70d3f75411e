/**
 * Routing rules for others, so that e.g. a queue consumer can ask "is this message mine?".
 * Shape and query parameters as in Signadot's routesapi (`GET /api/v1/workloads/routing-rules`).
 */
import { z } from 'zod';
import type { Address } from '../model/route.ts';
import type { WorkloadKey } from '../model/sandbox.ts';
import { sandboxRoutes } from '../model/sandbox-route.ts';
import type { Stored } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import type { Routes } from './routes.ts';

const query = z.strictObject({
  baselineKind: z.string().optional(),
  baselineNamespace: z.string().optional(),
  baselineName: z.string().optional(),
  routingKey: z.string().optional(),
  destinationSandboxName: z.string().optional(),
});

export function routingRuleRoutes(routes: Routes, { store }: ApiContext): void {
  routes.get('/workloads/routing-rules', async request => {
    const wanted = checked(query, request.query);
    const is = (filter: string | undefined, value: string) =>
      filter === undefined || filter === '' || filter === value;
    const wantedRule = (rule: Rule) =>
      is(wanted.baselineKind, rule.baseline.kind) &&
      is(wanted.baselineNamespace, rule.baseline.namespace) &&
      is(wanted.baselineName, rule.baseline.name) &&
      is(wanted.routingKey, rule.routingKey) &&
      is(wanted.destinationSandboxName, rule.destinationSandbox.name);
    const routingRules = [...store.list('sandbox').flatMap(living), ...store.list('tombstone').flatMap(dead)];
    return { routingRules: routingRules.filter(wantedRule) };
  });
}

// --- internal -----------------------------------------------------------------------------------

type Rule = {
  readonly routingKey: string;
  readonly baseline: WorkloadKey;
  readonly destinationSandbox: { readonly name: string };
  /** Empty: whoever asks is not meant, and nobody can be reached who is. */
  readonly mappings: readonly {
    readonly workloadPort: number;
    readonly destinations: readonly Address[];
  }[];
};

/** What the router does with a key, said to others: also while the fork is not there yet, or not any more. */
const living = (sandbox: Stored<'sandbox'>): readonly Rule[] =>
  sandboxRoutes(sandbox).map(({ forkOf, routingKey, target }) => ({
    routingKey,
    baseline: forkOf,
    destinationSandbox: { name: sandbox.name },
    mappings: Object.entries(target.ready ? target.ports : {}).map(([port, destinations]) => ({
      workloadPort: Number(port),
      destinations,
    })),
  }));

const dead = ({ name: routingKey, spec }: Stored<'tombstone'>): readonly Rule[] =>
  spec.forks.map(baseline => ({
    ...{ routingKey, baseline, destinationSandbox: { name: spec.sandbox }, mappings: [] },
  }));
