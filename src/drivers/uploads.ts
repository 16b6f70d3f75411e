/**
 * Files that are sent here piece by piece, to be read once: dumps. What nobody goes on with is removed after a while, and so is
 * what was left by a daemon before. Whoever uses one moves its folder away.
 */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

export type Uploads = {
  /** @returns its id */
  begin(): Promise<string>;
  /**
   * Pieces come in order; one that came already is not written twice.
   * @returns bytes that the file has; undefined: there is no such upload
   */
  append(id: string, file: string, offset: number, bytes: Buffer): Promise<number | undefined>;
  /** Its folder, as long as nobody has moved it; undefined: there is none. */
  folder(id: string): Promise<string | undefined>;
  /** Somebody will use it: it is no longer removed by itself. */
  keep(id: string): void;
  remove(id: string): Promise<void>;
};

/** @param home the data directory; ours is `uploads` in it */
export async function openUploads(home: string): Promise<Uploads> {
  const idle = new Map<string, NodeJS.Timeout>();
  const root = join(home, 'uploads');
  const pathOf = (id: string): string => uploadFolder(home, id);
  const touch = (id: string, ms = IDLE_MS): void => {
    clearTimeout(idle.get(id));
    idle.set(id, setTimeout(() => void uploads.remove(id).catch(() => {}), ms).unref());
  };
  const uploads: Uploads = {
    async begin() {
      const id = randomBytes(12).toString('hex');
      await mkdir(pathOf(id), { recursive: true, mode: 0o700 });
      touch(id);
      return id;
    },

    async append(id, file, offset, bytes) {
      if ((await uploads.folder(id)) === undefined) return undefined;
      touch(id);
      const handle = await open(join(pathOf(id), file), constants.O_RDWR | constants.O_CREAT, 0o600);
      try {
        const { size } = await handle.stat();
        if (offset > size) return size;
        for (let at = 0; at < bytes.length; )
          at += (await handle.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
        return Math.max(size, offset + bytes.length);
      } finally {
        await handle.close();
      }
    },

    async folder(id) {
      const found = isId(id) && (await stat(pathOf(id)).catch(() => undefined));
      return found ? pathOf(id) : undefined;
    },

    keep(id) {
      clearTimeout(idle.get(id));
      idle.delete(id);
    },

    async remove(id) {
      uploads.keep(id);
      if (isId(id)) await rm(pathOf(id), { recursive: true, force: true });
    },
  };
  for (const id of await readdir(root).catch(() => [])) {
    const { mtimeMs } = await stat(join(root, id)).catch(() => ({ mtimeMs: Date.now() }));
    const left = mtimeMs + STALE_MS - Date.now();
    if (left > 0) touch(id, left);
    else await rm(join(root, id), { recursive: true, force: true });
  }
  return uploads;
}

/** A path that a name from elsewhere can have in an upload. */
export const isFileName = (name: string): boolean => /^[A-Za-z0-9_][\w.-]{0,199}$/.test(name);

export const uploadFolder = (home: string, id: string): string => join(home, 'uploads', id);

// --- internal -----------------------------------------------------------------------------------

const isId = (id: string): boolean => /^[0-9a-f]{24}$/.test(id);

/** Without a piece for so long, whoever was sending is gone. */
const IDLE_MS = 3_600_000;
/** Of a daemon before; one that a project waits for is used sooner. */
const STALE_MS = 24 * 3_600_000;
