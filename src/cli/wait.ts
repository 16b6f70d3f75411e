/** Waiting for objects through the watch, with a deadline. */
import { OffshootError } from '../model/errors.ts';
import type { Cli } from './context.ts';
import { took } from './output.ts';

export type WaitOptions<T> = {
  readonly kind: string;
  /** Store name; absent: all objects of the kind. */
  readonly name?: string;
  readonly timeoutMs: number;
  /** For the error: what is waited for, and what was last seen of it. */
  readonly what: string;
  readonly hint?: string;
  /** Ends the wait; its reason is thrown. */
  readonly signal?: AbortSignal;
  /** Called with everything known after each change; `undefined` = wait on. */
  readonly probe: (objects: ReadonlyMap<string, T>) => boolean | undefined;
  readonly last?: (objects: ReadonlyMap<string, T>) => string | undefined;
  /** For the error: lines of output of what did not come. */
  readonly output?: (objects: ReadonlyMap<string, T>) => string | undefined;
};

/** @throws OffshootError api/timeout; whatever `probe` throws; the reason of Ctrl-C */
export async function waitFor<T>(cli: Cli, options: WaitOptions<T>): Promise<void> {
  const { kind, name, timeoutMs, what, probe, last, hint } = options;
  const deadline = AbortSignal.timeout(timeoutMs);
  const stop = new AbortController();
  const objects = new Map<string, T>();
  let synced = false;
  try {
    const given = options.signal === undefined ? [] : [options.signal];
    const filter = { kind, ...(name !== undefined && { name }) };
    for await (const change of cli
      .client()
      .watch<T>(filter, AbortSignal.any([cli.signal, deadline, stop.signal, ...given]))) {
      if (change.type === 'put') objects.set(change.name, change.object);
      else if (change.type === 'gone') objects.delete(change.name);
      else if (change.type === 'reset') {
        // Objects that went while nobody listened have no `gone`: they are only not told again.
        objects.clear();
        synced = false;
      } else if (change.type === 'synced') synced = true;
      if (synced && change.type !== 'event' && probe(objects)) return;
    }
  } catch (error) {
    if (error !== deadline.reason) throw error;
    const output = options.output?.(objects);
    const params = { after: took(timeoutMs), what, last: last?.(objects), hint };
    throw new OffshootError('api/timeout', params, output === undefined ? {} : { output });
  } finally {
    stop.abort();
  }
}
