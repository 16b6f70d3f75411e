/** A person who came into a preview with a browser: what the token in its cookie opens. */
export type Visit = {
  /** `<endpoint>--<sandbox>` */
  readonly preview: string;
  /** Hash of the API key that it was given for, and ends with. */
  readonly key: string;
  /** Milliseconds since 1970, where nobody would be told that the right of whoever opened it has ended. */
  readonly until?: number;
};

/** A person wants to come into a preview. All hashes are SHA-256 in hexadecimal. */
export type Entry = {
  /** `<endpoint>--<sandbox>` */
  readonly preview: string;
  /** Of the token that is to open it from now on. */
  readonly token: string;
  /** Of an API key that opens previews, or of the token of a link, which is worth nothing afterwards. */
  readonly by: { readonly key: string } | { readonly link: string };
};
