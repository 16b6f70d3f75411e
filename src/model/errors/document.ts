import type { ErrorRow } from '../errors.ts';

const problems = (count: unknown) => `${count} ${count === 1 ? 'problem' : 'problems'}`;

/** Sandbox, plugin and manifest files. What is wrong in detail, and where, is in the error's `problems`. */
export const documentErrors = {
  'document/invalid': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `${p.file} is not valid: ${problems(p.count)}`,
    hint: p =>
      String(
        p.hint ??
          'mend what the problems name, then repeat; docs/schema has the schemas of sandboxes and plugins',
      ),
  },
  'document/too-large': {
    fault: 'user',
    http: 413,
    exit: 2,
    retry: false,
    say: p => `the manifests (${p.size}) cannot be read: ${p.why}`,
    hint: () => 'deploy them in several parts',
  },
  'document/not-supported': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `${p.file} is valid, but asks for what is not supported yet: ${problems(p.count)}`,
    hint: () => 'leave out what the problems name, then repeat',
  },
} as const satisfies Record<string, ErrorRow>;
