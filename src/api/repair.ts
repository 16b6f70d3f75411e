import { planRepair, repair } from '../rules/repair.ts';
import type { ApiContext } from './context.ts';
import type { Routes } from './routes.ts';

export function repairRoutes(routes: Routes, { store, branches }: ApiContext): void {
  routes.get('/repair', async () => planRepair(store, await branches.unclaimed()));

  routes.post('/repair', async () => repair(store, await branches.unclaimed()));
}
