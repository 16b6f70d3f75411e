/** What programs say, and how much of it is asked for. Types only. */

export type LogQuery = {
  /** How many of the newest, of each container. */
  readonly lines: number;
  readonly follow?: boolean;
  /** Only what the container said in the life before the one that it has now. */
  readonly previous?: boolean;
  /** Only of the containers of that name. */
  readonly container?: string;
};

export type LogLine = { readonly pod: string; readonly container: string; readonly text: string };

/** Of a server, which has one log. */
export type ServerLogQuery = Pick<LogQuery, 'lines' | 'follow'>;
