import type { ErrorRow } from '../errors.ts';

/** Settings of servers, chosen for projects and branches. */
export const settingsErrors = {
  'settings/wrong': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `settings are wrong: ${p.problems}`,
    hint: () =>
      'docs/branches.md lists those that there are; what sessions may set themselves goes by "ALTER DATABASE … SET", too',
  },
} as const satisfies Record<string, ErrorRow>;
