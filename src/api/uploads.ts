/** Dumps that are sent here, piece by piece: a request each, so that none takes long and a piece that was lost comes again. */
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import type { ApiContext, UploadsAtHand } from './context.ts';
import { checked } from './input.ts';
import { answer, type Routes } from './routes.ts';

/** `bytes`: of all that will come, where that is known. */
const beginBody = z.strictObject({ bytes: z.int().nonnegative().optional() });
const pieceQuery = z.strictObject({ offset: z.coerce.number().int().nonnegative() });

/** Bytes of a piece. */
const pieceLimit = 16 * 1024 * 1024;

export function uploadRoutes(routes: Routes, { imports }: ApiContext): void {
  const uploads = (): UploadsAtHand => {
    if (imports === undefined) throw new OffshootError('import/not-here');
    return imports.uploads;
  };

  routes.post('/uploads', async ({ body }) => {
    const { bytes } = checked(beginBody, body);
    return answer(201, { id: await uploads().begin(bytes) });
  });

  /** @returns how much of the file is here: the next piece begins there */
  routes.put<{ id: string; file: string }>(
    '/uploads/:id/files/:file',
    async ({ params: { id, file }, query, body }) => {
      const { offset } = checked(pieceQuery, query);
      return {
        bytes: await uploads().append(id, file, offset, (body as Buffer | undefined) ?? Buffer.alloc(0)),
      };
    },
    { bodyLimit: pieceLimit, raw: true },
  );

  routes.delete<{ id: string }>('/uploads/:id', async ({ params: { id } }) => {
    await uploads().remove(id);
    return { id };
  });
}
