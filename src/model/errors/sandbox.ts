import type { ErrorRow } from '../errors.ts';

/** What a sandbox asks for and cannot have. */
export const sandboxErrors = {
  'sandbox/plugin-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `resource "${p.resource}" names the plugin "${p.plugin}", which is not installed`,
    hint: p =>
      `install it with "offshoot resourceplugin apply -f FILE"${p.similar ? `; did you mean "${p.similar}"?` : ''}`,
  },
  'sandbox/baseline-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: ${p.what} "${p.name}" does not exist in namespace "${p.namespace}"`,
    hint: p => `deploy it with "offshoot deploy -f DIR"${p.similar ? `; did you mean "${p.similar}"?` : ''}`,
  },
  'sandbox/output-unknown': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: the output key "${p.key}" is not an output of plugin "${p.plugin}"`,
    hint: p => `its outputs are: ${p.outputs}`,
  },
  'sandbox/immutable': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path} of sandbox "${p.name}" cannot be changed after creation`,
    hint: p => `delete the sandbox and create it again: "offshoot sandbox delete ${p.name}"`,
  },
  'sandbox/deleting': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `sandbox "${p.name}" is being deleted`,
    hint: () => 'wait until it is gone, then apply again',
  },
  'sandbox/resource-failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `resource "${p.resource}" of sandbox "${p.sandbox}" failed in step "${p.step}": ${p.why}`,
    hint: p =>
      `what the step made was undone; mend the cause, then apply again${p.sandbox ? ` or "offshoot sandbox delete ${p.sandbox}"` : ''}`,
  },
  'plugin/in-use': {
    fault: 'user',
    http: 400,
    exit: 1,
    retry: false,
    say: p => `plugin "${p.plugin}" is in use by sandbox ${p.sandboxes}`,
    hint: () => 'delete the sandboxes first',
  },
  'plugin/exists': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `plugin "${p.plugin}" already exists with another content, and a version never changes`,
    hint: p => `publish a new version, e.g. name: ${p.next}`,
  },
} as const satisfies Record<string, ErrorRow>;
