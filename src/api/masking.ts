/**
 * What leaves through the API holds no secret that we know of: the secret outputs of plugin steps and the passwords of
 * branches, wherever they stand, in sentences, events and lines of logs. The few answers that are there to tell one are
 * named at their routes. A change of the store costs what it changes.
 */
import { createMask } from '../lib/mask.ts';
import { secretsIn } from '../model/secret-values.ts';
import type { Kind, Store, Stored } from '../store/contract.ts';

export type Masking = {
  /** What a client may see of `view`; the same object where there is nothing to hide. */
  readonly mask: <T>(view: T) => T;
  close(): void;
};

export function masking(store: Store): Masking {
  const mask = createMask();
  /** By object: what its values were taken from. */
  const known = new Map<string, unknown>();

  const learn = (object: Stored<Kind>): void => {
    if (object.kind !== 'sandbox' && object.kind !== 'branch') return;
    const key = `${object.kind} ${object.name}`;
    const { secret } = object;
    if (known.get(key) === secret) return;
    known.set(key, secret);
    mask.set(key, object.kind === 'branch' ? passwordOf(object as never) : outputsOf(object as never));
  };

  for (const kind of ['sandbox', 'branch'] as const) store.list(kind).forEach(learn);
  const close = store.onChange(change => {
    if (change.type === 'put') learn(change.object);
    if (change.type !== 'gone') return;
    const key = `${change.kind} ${change.name}`;
    known.delete(key);
    mask.set(key, []);
  });
  return { mask: view => masked(view, mask.text) as typeof view, close };
}

// --- internal -----------------------------------------------------------------------------------

const passwordOf = ({ secret }: Stored<'branch'>): readonly string[] => [secret.password];

const outputsOf = ({ secret }: Stored<'sandbox'>): readonly string[] =>
  Object.values(secret.resources).flatMap(({ create, delete: gone }) =>
    [...Object.values(create), ...Object.values(gone)].flatMap(({ outputs = {} }) =>
      Object.entries(outputs).flatMap(([name, value]) => secretsIn(name, value)),
    ),
  );

/** By these, objects are found again; a secret that is somebody's name is none. */
const identities = new Set(['name', 'id', 'kind', 'namespace', 'project', 'owner', 'cluster', 'routingKey']);

function masked(value: unknown, text: (text: string) => string): unknown {
  if (typeof value === 'string') return text(value);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map(item => masked(item, text));
    return items.some((item, i) => item !== value[i]) ? items : value;
  }
  let changed: Record<string, unknown> | undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'string' && identities.has(key)) continue;
    const next = masked(inner, text);
    if (next === inner) continue;
    changed ??= { ...value };
    changed[key] = next;
  }
  return changed ?? value;
}
