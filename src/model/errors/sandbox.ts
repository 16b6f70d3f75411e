import type { ErrorRow } from '../errors.ts';

/** What to do about a workload, by the reason of its status. */
const mending: Readonly<Record<string, string>> = {
  ConfigError: 'deploy what it lacks, or mark the reference as optional',
  CommandNotFound:
    "install it here, or say in the image's entry of offshoot.yaml what runs in its place: programs: {NAME: [PROGRAM, ARGUMENT]}",
  PortTaken: 'stop what has the port, or choose another one',
  SetupFailed: 'mend what its last lines say',
  BuildFailed: 'mend what its last lines say',
};

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
  'sandbox/baseline-unread': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: true,
    say: p => `${p.path}: ${p.what} "${p.name}" cannot be forked: ${p.why}`,
    hint: () =>
      'whoever installs Offshoot in the cluster says which may be: baselineNamespaces, with "helm upgrade"; it is tried again by itself',
  },
  'sandbox/port-missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.path}: ${p.what} in namespace "${p.namespace}" has no port ${p.port}`,
    hint: p => `its ports are: ${p.ports}`,
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
  'sandbox/fork-cycle': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `the forks of sandbox "${p.sandbox}" refer to each other in a circle: ${p.forks}`,
    hint: () => 'let one of them find the other through its Service instead',
  },
  'sandbox/gone': {
    fault: 'user',
    http: 404,
    exit: 3,
    retry: false,
    say: p => `sandbox "${p.name}" is gone already: it was deleted at ${p.at}`,
    hint: () => 'see "offshoot sandbox list" for what there is',
  },
  'sandbox/has-children': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `sandbox "${p.name}" cannot go while branches grow from its own: ${p.children}`,
    hint: p =>
      String(p.hint ?? 'delete them first, or repeat with --recursive, which deletes them too, for good'),
  },
  'sandbox/delete-blocked': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `sandbox "${p.name}" is to be deleted and still there: ${p.why}`,
    hint: p =>
      `it goes once they are gone; "offshoot sandbox delete ${p.name} --recursive" deletes them too, for good`,
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
  'sandbox/resource-retrying': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p => `resource "${p.resource}" of sandbox "${p.sandbox}" failed in step "${p.step}": ${p.why}`,
    hint: () => 'what the step made was undone; it is tried again by itself',
  },
  'sandbox/undo-failed': {
    fault: 'system',
    http: 503,
    exit: 1,
    retry: true,
    say: p =>
      `undoing resource "${p.resource}" of sandbox "${p.sandbox}" failed in step "${p.step}": ${p.why}`,
    hint: p =>
      `it is tried again; "offshoot sandbox delete ${p.sandbox} --force" gives up on the plugin's delete steps`,
  },
  'sandbox/not-ready': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `sandbox "${p.name}" cannot become ready: ${p.why}`,
    hint: p =>
      `${p.hint ? `${p.hint}; ` : ''}mend the cause and apply again, or "offshoot sandbox delete ${p.name}"`,
  },
  'manifest/failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `${p.kind} "${p.name}" in namespace "${p.namespace}" cannot become ready: ${p.why}` +
      (p.others ? ` (nor can ${p.others}, see above)` : ''),
    hint: p => `${mending[String(p.reason)] ?? 'mend the cause'}; then deploy again`,
  },
  'manifest/deleting': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: true,
    say: p => `${p.kind} "${p.name}" is being removed`,
    hint: () => 'wait until it is gone, then deploy again',
  },
  'manifest/in-use': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `${p.kind} "${p.name}" in namespace "${p.namespace}" is forked by sandbox ${p.sandboxes}`,
    hint: p => `first: offshoot sandbox delete ${String(p.sandboxes).split(', ')[0]}`,
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
