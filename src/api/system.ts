import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import type { AuthorityView, IdentityView } from '../model/view.ts';
import type { Kind } from '../store/contract.ts';
import type { ApiContext } from './context.ts';
import { checked, flag } from './input.ts';
import { type Answer, answer, type Routes } from './routes.ts';

const eventQuery = z.strictObject({
  kind: z.string().optional(),
  name: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

const identityBody = z.strictObject({ name: z.string() });

/** `leave`: nothing that runs is stopped. */
const shutdownQuery = z.strictObject({ leave: flag });

export function systemRoutes(
  routes: Routes,
  { store, info, branches, metrics, authority, identity, doctor, shutdown }: ApiContext,
): void {
  routes.get('/status', async () => {
    const { room } = await branches.space();
    return { ...info(), ...(room && { room }) };
  });

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
  routes.post('/identities', async ({ body }): Promise<Answer> => {
    const { name } = checked(identityBody, body);
    if (info().feed === undefined) throw new OffshootError('api/no-feed');
    const made = identity(name);
    if (made === undefined)
      throw new OffshootError('api/bad-request', {
        why: `"${name}" is neither gateway nor workload/NAMESPACE/NAME or workload/KIND/NAMESPACE/NAME`,
      });
    return answer(201, { name, identity: made } satisfies IdentityView);
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
