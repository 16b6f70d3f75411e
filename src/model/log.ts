/** What programs say, and how much of it is asked for. */

export type LogQuery = {
  /** How many of the newest, of each container. */
  readonly lines: number;
  readonly follow?: boolean;
  /** Only what the container said in the life before the one that it has now. */
  readonly previous?: boolean;
  /** Only of the containers of that name. */
  readonly container?: string;
  /** Only what was said then or later; milliseconds since 1970. */
  readonly since?: number;
  /** Say when each line was said. */
  readonly timestamps?: boolean;
};

export type LogLine = {
  /** Absent: it is none's. */
  readonly pod?: string;
  readonly container: string;
  /** RFC 3339; not later than that. */
  readonly at?: string;
  readonly text: string;
};

/** Of a server, which has one log. */
export type ServerLogQuery = Pick<LogQuery, 'lines' | 'follow'>;

/**
 * When PostgreSQL wrote a line, as `%m` at its beginning says (drivers/postgres/settings.ts): milliseconds since 1970. A
 * zone that has other letters than UTC is that of this machine.
 */
export function timeInLog(line: string): number | undefined {
  const [, day, time, zone] =
    /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{3}) ([A-Z]{3,5}|[+-]\d\d) /.exec(line) ?? [];
  if (day === undefined) return undefined;
  const offset = zone === 'UTC' || zone === 'GMT' ? 'Z' : /^[+-]/.test(zone!) ? `${zone}:00` : '';
  const ms = Date.parse(`${day}T${time}${offset}`);
  return Number.isNaN(ms) ? undefined : ms;
}
