/** The ResourcePlugin document, as Signadot defines it, with one addition: a step may say `uses:` instead of `script:`. */

export type StepInput = {
  readonly name: string;
  readonly type?: string;
  /** The input's name is a key of the resource's `params`. */
  readonly valueFromSandbox?: boolean;
  readonly valueFromStep?: { readonly name: string; readonly output: string };
  /** Default: an environment variable, the name in capitals with `-` as `_`. */
  readonly as?: { readonly env?: string; readonly path?: string };
};

export type StepOutput = {
  readonly name: string;
  readonly description?: string;
  readonly type?: string;
  /** Required in script steps: the file whose bytes are the output. */
  readonly valueFromPath?: string;
};

export type BuiltinAction = 'branch/create' | 'branch/delete';

export type PluginStep = {
  readonly name: string;
  readonly script?: string;
  readonly uses?: BuiltinAction;
  readonly inputs?: readonly StepInput[];
  readonly outputs?: readonly StepOutput[];
};

export type PluginSpec = {
  readonly description?: string;
  readonly runner?: {
    readonly image?: string;
    readonly namespace?: string;
    readonly podTemplateOverlay?: string;
  };
  readonly create?: readonly PluginStep[];
  readonly delete?: readonly PluginStep[];
};

/** `name` is `bare` or `bare@semver`; a bare name is version 0.0.0. */
export type ResourcePlugin = { readonly name: string; readonly spec: PluginSpec };

/** Outputs of the built-in actions; an `outputs:` list on such a step may name a subset of them. */
export const builtinOutputs: Readonly<Record<BuiltinAction, readonly string[]>> = {
  'branch/create': [
    'connection-string',
    'branch-name',
    'branch-id',
    'host',
    'port',
    'user',
    'password',
    'database',
  ],
  'branch/delete': [],
};

/** Inputs that the built-in actions understand; an unknown one is an error. */
export const builtinInputs: Readonly<Record<BuiltinAction, readonly string[]>> = {
  'branch/create': ['parent-branch', 'branch-name', 'project', 'afterwards'],
  'branch/delete': ['branch-name', 'project'],
};
