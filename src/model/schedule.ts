/** When a CronJob runs (Kubernetes, "CronJob", schedule syntax): five fields or a macro such as `@daily`. */
import { Cron } from 'croner';

export type Schedule = {
  /** The first time after `date`; undefined: never. */
  after(date: Date): Date | undefined;
  /** The newest time up to `now` that is after `since`; undefined when there is none. */
  latest(since: Date, now: Date): Date | undefined;
};

/** @param timeZone name in the IANA database, default UTC @throws Error; see `scheduleProblem` */
export function readSchedule(schedule: string, timeZone = 'UTC'): Schedule {
  const cron = new Cron(schedule, { mode: '5-part', timezone: timeZone, paused: true });
  return {
    after: date => cron.nextRun(date) ?? undefined,
    latest(since, now) {
      // `now` itself counts, and there are no schedules finer than a minute.
      const [newest] = cron.previousRuns(1, new Date(now.getTime() + 1));
      return newest !== undefined && newest > since ? newest : undefined;
    },
  };
}

/** What is wrong with a schedule, and where. */
export function scheduleProblem(
  schedule: string,
  timeZone: string | undefined,
): { readonly field: 'schedule' | 'timeZone'; readonly message: string } | undefined {
  // A cluster refuses it since 1.27: the field is for that.
  if (/^(CRON_)?TZ=/.test(schedule))
    return { field: 'schedule', message: 'a time zone stands under timeZone, not in the schedule' };
  if (timeZone !== undefined && !isTimeZone(timeZone))
    return { field: 'timeZone', message: `there is no time zone "${timeZone}"` };
  try {
    readSchedule(schedule, timeZone);
    return undefined;
  } catch {
    const message = 'must have five fields (minute, hour, day, month, weekday) or be a macro such as @daily';
    return { field: 'schedule', message };
  }
}

// --- internal -----------------------------------------------------------------------------------

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
