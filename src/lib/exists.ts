/** Whether there is something at a path, asked off the loop: whoever looks a name up in a directory that is being changed waits for that. */
import { access } from 'node:fs/promises';

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
