/**
 * `POST /entrances`: where a container runs, for whoever wants to run a program beside it. Entering is his own doing, on
 * this machine and with his own rights; that somebody asked is an event.
 */
import { z } from 'zod';
import { OffshootError } from '../model/errors.ts';
import { manifestName } from '../model/manifest-name.ts';
import { parseProgramSelector } from '../model/program-selector.ts';
import type { RouteContext } from './context.ts';
import { checked } from './input.ts';
import { keyOf } from './key-of.ts';
import { programs } from './programs.ts';
import type { Routes } from './routes.ts';

const name = z.string().max(300);

const body = z.strictObject({
  of: name,
  namespace: name.optional(),
  container: name.optional(),
  /** What is to run there: its name, for the event; arguments may hold secrets. */
  program: name,
});

export function entranceRoutes(routes: Routes, context: RouteContext): void {
  const { store, keys, programs: atHand } = context;

  routes.post(
    '/entrances',
    async request => {
      const { of, namespace, container, program } = checked(body, request.body);
      const found = programs(context, [parseProgramSelector(of)], { namespace });
      const all = found.flatMap(one => (one.of === 'baseline' || one.of === 'fork' ? [one] : []));
      const [one] = all;
      if (one === undefined || all.length > 1) {
        const names = all.map(other => nameOf(other)).join(', ');
        const why = `"${of}" is ${names === '' ? 'no workload or fork' : `${names}: name one of them`}`;
        throw new OffshootError('api/bad-request', { why });
      }
      const surroundings = await atHand.inside(one, container);
      const what = nameOf(one);
      if ('why' in surroundings) throw new OffshootError('workload/closed', { what, why: surroundings.why });
      const hash = keys.hashOf(keyOf(request) ?? '');
      const [key] = hash === undefined ? [] : store.by('key/hash', hash);
      const who = key === undefined ? 'the command line of this machine' : `the key "${key.spec.label}"`;
      const { kind, namespace: space, name } = one.workload;
      await store.record({
        ...(one.of === 'fork'
          ? { kind: 'sandbox', name: one.sandbox }
          : { kind: 'manifest', name: manifestName(kind, space, name) }),
        ...{ severity: 'info', reason: 'Entered' },
        message: `${who} runs "${program}" in container "${surroundings.container}" of ${what}`,
      });
      return surroundings;
    },
    { tellsSecrets: true },
  );
}

// --- internal -----------------------------------------------------------------------------------

const nameOf = (one: {
  readonly sandbox?: string;
  readonly workload: { readonly kind: string; readonly name: string };
}): string =>
  one.sandbox === undefined
    ? `${one.workload.kind.toLowerCase()}/${one.workload.name}`
    : `sandbox/${one.sandbox}/${one.workload.name}`;
