import type { ErrorRow } from '../errors.ts';

/** What is deleted, and what is wanted back. */
export const trashErrors = {
  'delete/unconfirmed': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `deleting ${p.what} needs a yes, and there is no terminal to ask for it`,
    hint: () => 'repeat with --yes',
  },
  'delete/declined': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `${p.what} was not deleted`,
  },
  'trash/ambiguous': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `the trash holds several things named "${p.name}": ${p.ids}`,
    hint: () => 'name the one that you mean by its id; see "offshoot trash list"',
  },
  'trash/name-taken': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `there is a ${p.kind} named "${p.name}" again`,
    hint: p => `restore it under another name: "offshoot trash restore ${p.id} --as NAME"`,
  },
  'trash/parent-trashed': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `branch "${p.name}" grows from what is in the trash itself: ${p.what}`,
    hint: () => 'restore that first',
  },
} as const satisfies Record<string, ErrorRow>;
