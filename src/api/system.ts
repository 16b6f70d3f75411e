import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import type { AuthorityView } from '../model/view.ts';
import type { Kind } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';
import { answer, type Routes } from './routes.ts';

const eventQuery = z.strictObject({
  kind: z.string().optional(),
  name: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

/** `leave`: nothing that runs is stopped. */
const shutdownQuery = z.strictObject({ leave: flag });

export function systemRoutes(
  routes: Routes,
  { store, info, branches, metrics, authority, doctor, shutdown }: ApiContext,
): void {
  routes.get('/status', async () => ({ ...info(), room: (await branches.space()).room }));

  routes.get('/metrics', async () => metrics.read());

  routes.delete('/metrics', async () => {
    metrics.reset();
    return metrics.read();
  });

  routes.get('/ca', async (): Promise<AuthorityView> => {
    const certificate = authority();
    if (certificate === undefined) throw new OffshootError('api/no-authority');
    return { certificate };
  });
  routes.get('/doctor', async () => doctor());

  routes.get('/events', async ({ query }) => {
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

  routes.post('/shutdown', async ({ query, response }) => {
    const { leave } = checked(shutdownQuery, query);
    // Also when the caller left without waiting for the answer.
    response.on('close', () => shutdown(leave ? 'leave' : 'stop'));
    return answer(202, { stopping: true });
  });
}
