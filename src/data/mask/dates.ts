/** Dates and moments, as PostgreSQL writes them in ISO style and UTC, some days or seconds further. Any year that it has. */

/**
 * @param text of a date or a timestamp; `infinity` stays
 * @param seconds that it moves by; the other way, where there is no such date
 */
export function moved(text: string, seconds: number): string {
  const found = DATE.exec(text);
  if (found === null) {
    if (text === 'infinity' || text === '-infinity') return text;
    throw new Error('it is no date in ISO style');
  }
  const [, year, month, day, hours, minutes, whole, rest = '', zone = '', bc] = found;
  const years = bc === undefined ? Number(year) : 1 - Number(year);
  const time = hours === undefined ? 0 : Number(hours) * 3600 + Number(minutes) * 60 + Number(whole);
  const before = daysOf(years, Number(month), Number(day)) * DAY + time;
  const [first, last] = hours === undefined ? DATES : MOMENTS;
  const after = before + seconds < first || before + seconds > last ? before - seconds : before + seconds;
  const days = Math.floor(after / DAY);
  const left = after - days * DAY;
  const [y, m, d] = dateOf(days);
  const date = `${pad(y > 0 ? y : 1 - y, 4)}-${pad(m, 2)}-${pad(d, 2)}`;
  const clock =
    hours === undefined
      ? ''
      : ` ${pad(Math.floor(left / 3600), 2)}:${pad(Math.floor(left / 60) % 60, 2)}:${pad(left % 60, 2)}${rest}${zone}`;
  return `${date}${clock}${y > 0 ? '' : ' BC'}`;
}

export const DAY = 86_400;

// --- internal -----------------------------------------------------------------------------------

const DATE = /^(\d{4,7})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(\.\d+)?(\+00)?)?( BC)?$/;

const pad = (n: number, digits: number): string => String(n).padStart(digits, '0');

/** Days since 1970-01-01 in the Gregorian calendar without an end (Hinnant, "chrono-compatible low-level date algorithms"). */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468;
}

function dateOf(days: number): readonly [number, number, number] {
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const ofEra = z - era * 146_097;
  const years = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * years + Math.floor(years / 4) - Math.floor(years / 100));
  const m = Math.floor((5 * ofYear + 2) / 153);
  const month = m < 10 ? m + 3 : m - 9;
  return [years + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - Math.floor((153 * m + 2) / 5) + 1];
}

/** First and last of PostgreSQL's types (§8.5), in seconds. */
const DATES = [daysOf(-4712, 1, 1) * DAY, daysOf(5_874_897, 12, 31) * DAY] as const;
const MOMENTS = [daysOf(-4712, 1, 1) * DAY, daysOf(294_276, 12, 31) * DAY] as const;
