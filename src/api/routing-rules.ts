/**
 * Routing rules for others, so that e.g. a queue consumer can ask "is this message mine?".
 * Shape and query parameters as in Signadot's routesapi (`GET /api/v1/workloads/routing-rules`).
 */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';

const query = z.strictObject({
  baselineKind: z.string().optional(),
  baselineNamespace: z.string().optional(),
  baselineName: z.string().optional(),
  routingKey: z.string().optional(),
  destinationSandboxName: z.string().optional(),
});

export function routingRuleRoutes(app: FastifyInstance, { store }: ApiContext): void {
  app.get('/workloads/routing-rules', async request => {
    const wanted = checked(query, request.query);
    const is = (filter: string | undefined, value: string) =>
      filter === undefined || filter === '' || filter === value;
    const routingRules = store
      .list('sandbox')
      .filter(s => s.deletedAt === undefined)
      .flatMap(sandbox =>
        (sandbox.status?.forks ?? []).map(fork => ({
          routingKey: sandbox.secret.routingKey,
          baseline: fork.forkOf,
          destinationSandbox: { name: sandbox.name },
          mappings: Object.entries(fork.ports).map(([port, destinations]) => ({
            workloadPort: Number(port),
            destinations,
          })),
        })),
      )
      .filter(
        rule =>
          is(wanted.baselineKind, rule.baseline.kind) &&
          is(wanted.baselineNamespace, rule.baseline.namespace) &&
          is(wanted.baselineName, rule.baseline.name) &&
          is(wanted.routingKey, rule.routingKey) &&
          is(wanted.destinationSandboxName, rule.destinationSandbox.name),
      );
    return { routingRules };
  });
}
