import type { ErrorRow } from '../errors.ts';

/** Workloads of the process runtime, and plugin steps. */
export const workloadErrors = {
  'disk/in-use': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `the disk "${p.claim}" in namespace "${p.namespace}" is there for ${p.users}`,
    hint: () => 'undeploy those first, or with their disks: offshoot undeploy --disks',
  },
  'workload/config-bad': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `${p.file} is not valid: ${p.count} ${p.count === 1 ? 'problem' : 'problems'}`,
    hint: () =>
      'an entry looks like  images: {users-service: {dir: pkg/users-service, command: [node, app.ts]}}',
  },
  'workload/closed': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `${p.what} cannot be entered: ${p.why}`,
    hint: () => 'exec and shell are for the machine of the daemon, and the user who runs it, or root',
  },
  'workload/runtime-missing': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `the runtime "${p.runtime}" ${p.whose} is not on the PATH of this shell (${p.path})`,
    hint: () => 'install it, or choose it in this shell (nvm use, a virtual environment), and try again',
  },
  'migration/failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `branch ${p.branch} was not migrated: "${p.command}" in ${p.dir} ${p.how}`,
    hint: () => 'what it says stands above; run it again when that is mended',
  },
  'step/failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `the script of step "${p.step}" ended with ${p.how}`,
    hint: () => 'its last lines of output say why',
  },
  'step/timeout': {
    fault: 'user',
    http: 504,
    exit: 5,
    retry: true,
    say: p => `the script of step "${p.step}" did not end in time and was stopped`,
    hint: () => 'its last lines of output say how far it came',
  },
  'step/command-not-found': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      p.command === undefined
        ? `a command in the script of step "${p.step}" was not found or cannot be run`
        : `the command "${p.command}" in the script of step "${p.step}" was not found or cannot be run`,
    hint: () =>
      'on one machine scripts run there, so install it there; in a cluster they run in the runner image of the plugin',
  },
  'step/not-started': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `step "${p.step}" does not start: ${p.reason}: ${p.why}`,
    hint: () => 'nothing of it has run; it is tried again, and goes on when the cluster can run its pod',
  },
  'step/interrupted': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `the pod of step "${p.step}" was lost before its end: ${p.why}`,
    hint: () => 'it is undone and tried again',
  },
  'step/overlay-invalid': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `the podTemplateOverlay of the plugin cannot be used: ${p.why}`,
  },
  'step/output-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `step "${p.step}" ended well but never wrote its output "${p.output}" to ${p.path}`,
    hint: () => 'write the value to that path as a regular file',
  },
  'step/output-too-large': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `output "${p.output}" of step "${p.step}" has ${p.size} bytes, the most is ${p.max}`,
  },
  'step/output-not-text': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `output "${p.output}" of step "${p.step}" (${p.path}) is not UTF-8 text`,
  },
  'step/path-outside': {
    fault: 'user',
    http: 422,
    exit: 2,
    retry: false,
    say: p => `${p.what} of step "${p.step}" cannot have the path ${p.path}: ${p.why}`,
    hint: () =>
      'use a path below /tmp, or a relative one, which counts from the working directory of the step',
  },
} as const satisfies Record<string, ErrorRow>;
