/** The trash: what somebody deleted by hand is kept for a while and can be had back, unless the space is needed. */

export type Trashed = {
  /** RFC 3339: when it was deleted, and when it goes for good. */
  readonly at: string;
  readonly until: string;
};

/** A project in the trash has a name that nobody can ask for (a name holds no "~"), and remembers the one it had. */
export type TrashedProject = Trashed & { readonly name: string };

export const trashedProjectKey = (name: string, unique: string): string => `${name}~${unique}`;

/** The name that a project in the trash had; undefined when this is none's key. */
export const nameBeforeTrash = (key: string): string | undefined => /^([^~]+)~/.exec(key)?.[1];

/** @param keepMs how long it can be had back, in milliseconds */
export const trashed = (now: Date, keepMs: number): Trashed => ({
  at: now.toISOString(),
  until: new Date(now.getTime() + keepMs).toISOString(),
});

export const isTrashed = ({ spec }: { readonly spec: { readonly trashed?: Trashed } }): boolean =>
  spec.trashed !== undefined;
