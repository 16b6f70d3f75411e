/** How an image of the manifests runs as a local process; one entry of `images:` in offshoot.yaml. */
export type ImageSpec = {
  /** Absolute; `{name}` placeholders of the key may stand in dir, command, args, programs and env values. */
  readonly dir: string;
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What runs here in the place of programs of the image that manifests name, in a `command`, a probe or a hook. */
  readonly programs?: Readonly<Record<string, readonly string[]>>;
};

/** By key: `repository`, `registry/repository` or either with `:tag`, where the tag may be a `{placeholder}`. */
export type ImageMap = Readonly<Record<string, ImageSpec>>;
