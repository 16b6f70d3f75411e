import type { ErrorRow } from '../errors.ts';

/** What is remembered: the file `state.db`, and writes that came too late. */
export const storeErrors = {
  'store/conflict': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `${p.kind} "${p.name}" has moved on: ${p.why}`,
    hint: () => 'read it again and repeat the change',
  },
  'store/no-space': {
    fault: 'system',
    http: 507,
    sqlstate: '53100',
    exit: 1,
    retry: true,
    say: p => `there is no room left to write ${p.file}; nothing of this change was kept`,
    hint: () => 'make room on that file system, then repeat the change',
  },
  'store/write-failed': {
    fault: 'system',
    http: 503,
    sqlstate: '58030',
    exit: 1,
    retry: true,
    say: p => `${p.file} could not be written: ${p.why}; nothing of this change was kept`,
    hint: () => 'look at the disk and its file system, then repeat the change',
  },
  'store/newer': {
    fault: 'user',
    http: 500,
    exit: 1,
    retry: false,
    say: p =>
      `${p.file} was written by a newer offshoot: it has version ${p.found}, this one knows ${p.known}`,
    hint: p =>
      `start the newer offshoot, or put a copy of version ${p.known} or older in its place (${p.file}.v*)`,
  },
  'store/unreadable': {
    fault: 'system',
    http: 500,
    exit: 1,
    retry: false,
    say: p => `${p.file} cannot be read: ${p.why}`,
    hint: p => `put a back-up in its place (${p.file}.v* are from before upgrades)`,
  },
} as const satisfies Record<string, ErrorRow>;
