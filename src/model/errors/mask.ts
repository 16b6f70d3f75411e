import type { ErrorRow } from '../errors.ts';

/** Masks of data that come from elsewhere. No sentence holds a value of the source. */
export const maskErrors = {
  'mask/bad-rules': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `the masking rules are wrong at ${p.where}: ${p.why}`,
    hint: () => '"offshoot project mask --from SOURCE" prints rules to begin with',
  },
  'mask/does-not-fit': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `the masking rules do not fit the source: ${p.problems}`,
    hint: () => 'change them, and look again with "offshoot project mask --from SOURCE --mask FILE"',
  },
  'mask/uncovered': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `columns look like a person's data and have no rule: ${p.columns}`,
    hint: () =>
      'give each a rule, or name it under "keep"; "offshoot project mask --from SOURCE" prints rules to begin with',
  },
  'mask/sql-failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `statement ${p.number} of the mask's sql failed: ${p.why}`,
    hint: () =>
      'change it, and begin again; it runs as the owner of the project, after all rows and indexes have come',
  },
  'mask/no-value': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `a value of ${p.column} cannot be masked: ${p.why}`,
    hint: () => 'give that column another rule, e.g. null or a constant',
  },
} satisfies Record<string, ErrorRow>;
