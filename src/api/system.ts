import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import type { AuthorityView } from '../model/view.ts';
import type { Kind } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';

const eventQuery = z.strictObject({
  kind: z.string().optional(),
  name: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

/** `leave`: nothing that runs is stopped. */
const shutdownQuery = z.strictObject({ leave: flag });

export function systemRoutes(
  app: FastifyInstance,
  { store, info, space, metrics, authority, doctor, shutdown }: ApiContext,
): void {
  app.get('/status', async () => ({ ...info(), room: (await space()).room }));

  app.get('/metrics', async () => metrics.read());

  app.delete('/metrics', async () => {
    metrics.reset();
    return metrics.read();
  });

  app.get('/ca', async (): Promise<AuthorityView> => {
    const certificate = authority();
    if (certificate === undefined) throw new OffshootError('api/no-authority');
    return { certificate };
  });
  app.get('/doctor', async () => doctor());

  app.get('/events', async ({ query }) => {
    const { kind, name, limit } = checked(eventQuery, query);
    const events = await store.events({
      limit,
      ...(kind !== undefined && { kind: kind as Kind }),
      ...(name !== undefined && { name }),
    });
    // Whoever asks for one object means the one that is there, not an earlier one of its name.
    const since =
      kind === undefined || name === undefined ? undefined : store.get(kind as Kind, name)?.createdAt;
    return since === undefined ? events : events.filter(({ at }) => at >= since);
  });

  app.post('/shutdown', async ({ query }, reply) => {
    const { leave } = checked(shutdownQuery, query);
    // Also when the caller left without waiting for the answer.
    reply.raw.on('close', () => shutdown(leave ? 'leave' : 'stop'));
    return reply.status(202).send({ stopping: true });
  });
}
