/** Moments of `main` that are over, and going back to them: as a new branch, or in its own place. */
import type { Ledger } from './ledger.ts';

/** What `main` held at a moment by this machine's clock: what was acknowledged, and perhaps what was under way; nothing that began later. */
export type Moment = { readonly at: string; readonly ledger: Ledger };

export const copyOf = ({ sure, maybe }: Ledger): Ledger => ({ sure: new Set(sure), maybe: new Set(maybe) });

/** To be called again and again; the newest stay. */
export function remember(moments: Moment[], ledger: Ledger): void {
  moments.push({ at: new Date().toISOString(), ledger: copyOf(ledger) });
  if (moments.length > MOST) moments.shift();
}

// --- internal -----------------------------------------------------------------------------------

const MOST = 40;
