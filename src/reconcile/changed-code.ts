/** What a driver says of changed code becomes an intent, as if somebody had asked for another start. */
import type { Log } from '../lib/log.ts';
import { manifestName } from '../model/manifest-name.ts';
import { restartForks, restartWorkload } from '../rules/restart.ts';
import type { Store } from '../store/contract.ts';
import { workloadOf } from './workload-spec.ts';

/** @returns to be called with the id of a workload whose code has changed */
export const restarter =
  (store: Store, log: Log): ((id: string) => void) =>
  id => {
    const known = workloadOf(id);
    if (known === undefined || known.run !== undefined) return;
    const { sandbox, kind, namespace, name } = known;
    const restarted =
      sandbox === undefined
        ? restartWorkload(store, manifestName(kind, namespace, name))
        : restartForks(store, sandbox, [{ kind, namespace, name }]);
    restarted.catch(error => log.error({ error, id }, 'changed code starts nothing'));
  };
