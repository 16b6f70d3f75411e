/**
 * What a branch must hold, known without asking it. A batch is some rows of one transaction; `sure` are those that were
 * acknowledged, `maybe` those of which nobody knows: they were under way when somebody was killed, or while a child began.
 */
export type Ledger = { readonly sure: Set<number>; readonly maybe: Set<number> };

export const empty = (): Ledger => ({ sure: new Set(), maybe: new Set() });

/** Call before a child, or a reset, begins. @returns to be called when it has: what it must hold */
export function snapshot(parent: Ledger): () => Ledger {
  const sure = new Set(parent.sure);
  return () => ({
    sure,
    maybe: new Set([...parent.sure, ...parent.maybe].filter(batch => !sure.has(batch))),
  });
}

/** Of a branch that is the one or the other. */
export function either(one: Ledger, other: Ledger): Ledger {
  const sure = new Set([...one.sure].filter(batch => other.sure.has(batch)));
  const all = [one.sure, one.maybe, other.sure, other.maybe].flatMap(batches => [...batches]);
  return { sure, maybe: new Set(all.filter(batch => !sure.has(batch))) };
}

/** In words what is wrong with `found`, the batches that are there. */
export function faults({ sure, maybe }: Ledger, found: ReadonlySet<number>): readonly string[] {
  const lost = [...sure].filter(batch => !found.has(batch));
  const strange = [...found].filter(batch => !sure.has(batch) && !maybe.has(batch));
  const few = (batches: readonly number[]) => batches.slice(0, 5).join(', ');
  return [
    ...(lost.length > 0 ? [`lost ${lost.length} of ${sure.size}: ${few(lost)}`] : []),
    ...(strange.length > 0 ? [`${strange.length} not its own: ${few(strange)}`] : []),
  ];
}
