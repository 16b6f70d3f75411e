/** How an image of the manifests runs as a local process; one entry of `images:` in offshoot.yaml. */
export type ImageSpec = {
  /** Absolute; `{name}` placeholders of the key may stand in dir, command, args, programs and env values. */
  readonly dir: string;
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What runs here in the place of programs of the image that manifests name, in a `command`, a probe or a hook. */
  readonly programs?: Readonly<Record<string, readonly string[]>>;
  /** What has to be done in `dir` once, and again when a lock file has changed. */
  readonly setup?: Preparation;
  /** What has to be done there whenever its inputs have changed; after `setup`. */
  readonly build?: Preparation;
  /** What `command`, `setup` and `build` run by, instead of what the daemon has. */
  readonly runtime?: Runtime;
  /** A change of these files, globs from `dir`, starts what runs by them anew. */
  readonly watch?: readonly string[];
  /** `app`: the program sees itself to changes of its files, and is never started anew because of them. */
  readonly reload?: 'app';
};

export type Preparation = {
  /** Program first. */
  readonly command: readonly string[];
  /** Globs from `dir`; default of `setup`: the lock file, of `build`: what is watched, else all that git would keep. */
  readonly inputs?: readonly string[];
  readonly timeoutMs?: number;
};

export type Runtime = {
  /** As offshoot.yaml has it: node, python, go, jvm, or any program. */
  readonly name: string;
  /** Absolute folder of the user's own one; absent while nobody has looked for it. */
  readonly folder?: string;
};

/** By key: `repository`, `registry/repository` or either with `:tag`, where the tag may be a `{placeholder}`. */
export type ImageMap = Readonly<Record<string, ImageSpec>>;

/** What a runtime is found by, the first that is there. */
export const programsOfRuntime = (name: string): readonly string[] => known[name] ?? [name];

// --- internal -----------------------------------------------------------------------------------

const known: Readonly<Record<string, readonly string[]>> = {
  python: ['python3', 'python'],
  jvm: ['java'],
};
