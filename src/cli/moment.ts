/** A moment as people write it. */
import { OffshootError } from '../model/errors.ts';
import { inUtc } from '../model/history.ts';

/**
 * `10:42` or `10:42:30` (the newest that is over), `2026-11-27 10:42`, both by the clock of this machine; `15m ago`; `now`; or RFC 3339.
 * @returns RFC 3339, UTC @throws OffshootError history/bad-moment
 */
export function parseMoment(text: string, now = new Date()): string {
  if (text === 'now') return inUtc(now.toISOString());
  const ago = /^(\d+)\s*(s|m|h|d)(?:\s+ago)?$/.exec(text);
  if (ago !== null) return inUtc(new Date(now.getTime() - Number(ago[1]) * UNITS[ago[2]!]!).toISOString());
  const local = /^(?:(\d{4}-\d\d-\d\d)[ T])?(\d{1,2}:\d\d(?::\d\d(?:\.\d{1,6})?)?)$/.exec(text);
  if (local === null) return inUtc(text);
  const [, date, time = ''] = local;
  const padded = time.padStart(time.indexOf(':') === 1 ? time.length + 1 : time.length, '0');
  const [clock = '', fraction = ''] = (padded.length === 5 ? `${padded}:00` : padded).split('.');
  const at = new Date(`${date ?? dayOf(now)}T${clock}`);
  if (Number.isNaN(at.getTime())) throw new OffshootError('history/bad-moment', { moment: text });
  if (date === undefined && at > now) at.setDate(at.getDate() - 1);
  return inUtc(at.toISOString().replace('.000Z', `.${fraction.padEnd(6, '0')}Z`));
}

// --- internal -----------------------------------------------------------------------------------

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const dayOf = (day: Date): string =>
  [day.getFullYear(), day.getMonth() + 1, day.getDate()].map(n => String(n).padStart(2, '0')).join('-');
