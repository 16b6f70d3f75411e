import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { nowhere } from '../model/folder.ts';
import { imageEntries, removeImage } from '../rules/images.ts';
import type { ApiContext } from './context.ts';
import { checked } from './input.ts';
import { imageView } from './views.ts';

const query = z.strictObject({ folder: z.string().default(nowhere), image: z.string() });

export function imageRoutes(app: FastifyInstance, { store }: ApiContext): void {
  app.get('/images', async () => imageEntries(store).map(entry => imageView(store, entry)));

  /** Both names hold slashes, so they are no part of the path. */
  app.delete('/images', async request => {
    const { folder, image } = checked(query, request.query);
    await removeImage(store, folder, image);
    return { folder, image };
  });
}
