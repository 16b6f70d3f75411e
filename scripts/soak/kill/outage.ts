/** When the proxy cannot be reached because it was killed: what fails then is nobody's fault. */

/** A moment as the proxy lives it: what began in one and failed in the same, failed for another reason. */
export type Moment = { readonly life: number; readonly down: boolean };

export type Outage = {
  now(): Moment;
  /** The proxy is killed about now. */
  begin(): void;
  /** It serves again. */
  end(): void;
  /** Whether what was begun at that moment may fail. */
  excuses(since: Moment): boolean;
};

export function outage(): Outage {
  let moment: Moment = { life: 0, down: false };
  return {
    now: () => moment,
    begin: () => {
      moment = { life: moment.life + 1, down: true };
    },
    end: () => {
      moment = { ...moment, down: false };
    },
    excuses: since => since.down || since.life !== moment.life,
  };
}
