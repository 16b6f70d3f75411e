/** What the command line can do with PostgreSQL's own client programs, and what is missing for it. */
import { type ClientToolName, clientTools, findClientTools, howToInstall } from '../lib/client-tools.ts';
import type { CheckView } from '../model/view.ts';
import type { Cli } from './context.ts';

/** One check for each program. None is needed for the rest: what is missing is no fault, but said with what it is for. */
export const probeClientTools = (cli: Pick<Cli, 'env' | 'cwd'>): Promise<readonly CheckView[]> =>
  Promise.all(
    clientTools.map(async name => {
      const [newest, ...older] = await findClientTools(name, cli);
      const check = { area: 'client', name, ok: newest !== undefined };
      if (newest === undefined)
        return { ...check, detail: `not found: ${WITHOUT[name]}; ${howToInstall(BUNDLED)}` };
      const others = older.map(tool => `, also ${tool.version} in ${tool.path}`).join('');
      const limit =
        newest.major >= BUNDLED ? '' : `; for servers up to ${newest.major}, for newer ones ${WITHOUT[name]}`;
      return { ...check, detail: `${newest.version} in ${newest.path}${others}${limit}` };
    }),
  );

// --- internal -----------------------------------------------------------------------------------

/** Major version of the servers that come with us. */
const BUNDLED = 18;

const WITHOUT: Readonly<Record<ClientToolName, string>> = {
  psql: '"offshoot sql" uses a session of its own',
  pg_dump: '"offshoot branch dump" cannot dump',
  pg_restore: 'archives cannot be read',
};
