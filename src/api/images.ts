import { z } from 'zod';
import { nowhere } from '../model/folder.ts';
import { imageEntries, removeImage } from '../rules/images.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import type { Routes } from './routes.ts';
import { imageView } from './views.ts';

const query = z.strictObject({ folder: z.string().default(nowhere), image: z.string() });

export function imageRoutes(routes: Routes, { store }: ApiContext): void {
  routes.get('/images', async () => imageEntries(store).map(entry => imageView(store, entry)));

  /** Both names hold slashes, so they are no part of the path. */
  routes.delete('/images', async request => {
    const { folder, image } = checked(query, request.query);
    await removeImage(store, folder, image);
    return { folder, image };
  });
}
