/** Where daemon and proxies meet. */
import { join } from 'node:path';

/** The daemon listens there. Its directory is for the owner only. */
export const feedSocket = (runtimeDir: string): string => join(runtimeDir, 'proxy', 'feed.sock');

/** What the proxy that listens knows; see stream/table-file.ts. */
export const tableFile = (home: string): string => join(home, 'proxy', 'table.jsonl');

/** What proxies print, which is nothing unless they break. */
export const outFile = (home: string): string => join(home, 'logs', 'proxy.out');
