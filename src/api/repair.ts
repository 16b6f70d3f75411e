import type { FastifyInstance } from 'fastify';
import { planRepair, repair } from '../rules/repair.ts';
import type { ApiContext } from './context.ts';

export function repairRoutes(app: FastifyInstance, { store, unclaimed }: ApiContext): void {
  app.get('/repair', async () => planRepair(store, await unclaimed()));

  app.post('/repair', async () => repair(store, await unclaimed()));
}
