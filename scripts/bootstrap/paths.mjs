/** Where a checkout keeps what is made, not written. All of it is ignored by git. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** Node, when the machine's own is too old. */
export const toolchain = join(root, '.toolchain');
export const cache = join(root, '.cache');
/** As npm's packages name it, e.g. linux-x64. */
export const platform = `${process.platform}-${process.arch}`;
