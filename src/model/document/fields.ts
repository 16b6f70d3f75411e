/** The kinds of text and number that the documents' fields are made of. */
import { z } from 'zod';

const PORT = 'must be a whole number from 1 to 65535';

export const port = z
  .int({ error: issue => (issue.input === undefined ? undefined : PORT) })
  .min(1, PORT)
  .max(65535, PORT);

/** Any text but none at all. */
export const text = z.string().min(1, 'must not be empty');

/** Characters of the longest texts, and entries of the longest lists: an object of a cluster has room for a few of those. */
const MAX_TEXT = 256 * 1024;
const MAX_ITEMS = 1000;

/** A map whose keys are the user's own; values are always strings. */
export const textMap = z.record(z.string(), z.string());

const atMost = (max: number) => `must have at most ${max} characters`;

/** A text in one place of a document of ours: a name of somebody else's, an image, a URL. */
export const line = text.max(4096, atMost(4096));

/** A script, a patch, the value of a variable; none at all is one, too. */
export const longText = z.string().max(MAX_TEXT, atMost(MAX_TEXT));

/** A map of the user's own in a document of ours. */
export const params = z
  .record(z.string().max(253, atMost(253)), longText)
  .refine(value => Object.keys(value).length <= MAX_ITEMS, `must have at most ${MAX_ITEMS} entries`)
  .meta({ maxProperties: MAX_ITEMS });

/** Any list of a document of ours. */
export const list = <T extends z.ZodType>(item: T) =>
  z.array(item).max(MAX_ITEMS, `must have at most ${MAX_ITEMS} items`);

/** Where a schema has the rules of `inCluster`. */
export const CLUSTER_RULES = 'x-kubernetes-validations';

/** A rule as an API server checks it: in the Common Expression Language, where `self` is the value. */
export type ClusterRule = { readonly rule: string } & (
  | { readonly message: string }
  | { readonly messageExpression: string }
);

/** What `refine` before it says, once more for API servers (`schema.refine(…).meta(inCluster(…))`): both must mean the same. */
export const inCluster = (...rules: readonly ClusterRule[]) => ({ [CLUSTER_RULES]: rules });

const NAME = /^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/;
const NAME_RULE = 'only letters, digits and hyphens are allowed, a letter first and no hyphen last';

/** Names of steps, inputs, outputs, resources and forks. */
export const name = (max: number) =>
  z.string().max(max, `must have at most ${max} characters`).regex(NAME, NAME_RULE);

/** `step.output`. */
export const outputKey = z
  .string()
  .max(61, 'must have at most 61 characters')
  .regex(
    /^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/,
    'must be STEP.OUTPUT, e.g. provision.connection-string',
  );

/** Name of an environment variable: what environ(7) can hold. */
export const envName = z
  .string()
  .max(4096, atMost(4096))
  .regex(/^[^=\0]+$/, 'must be the name of an environment variable, without "="');

/** A file's path; relative ones are meant from the working directory of whoever reads or writes it. */
export const path = z
  .string()
  .max(4096, atMost(4096))
  .regex(/^[^\0]+$/, 'must be a path');

const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const LABEL_RULE = 'only lowercase letters, digits and hyphens are allowed, no hyphen first or last';

/** One DNS label (RFC 1123), as names of namespaces, containers and the like. */
export const label = z.string().max(63, 'must have at most 63 characters').regex(LABEL, LABEL_RULE);

/** Dot-separated DNS labels, as most names of Kubernetes objects. */
export const dnsName = z
  .string()
  .max(253, 'must have at most 253 characters')
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
    `${LABEL_RULE}, except for dots`,
  );

/** Text of at most `max` bytes of UTF-8. */
export const boundedText = (max: number) =>
  z
    .string()
    .refine(value => Buffer.byteLength(value) <= max, `must have at most ${max} bytes`)
    .meta({ maxLength: max });

/** A list whose items are compared with each other or with those of other lists, so its length has a cap. */
export const shortList = <T extends z.ZodType>(item: T) =>
  z.array(item).max(100, 'must have at most 100 items');
