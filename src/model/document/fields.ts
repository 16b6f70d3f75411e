/** The kinds of text and number that the documents' fields are made of. */
import { z } from 'zod';

const PORT = 'must be a whole number from 1 to 65535';

export const port = z
  .int({ error: issue => (issue.input === undefined ? undefined : PORT) })
  .min(1, PORT)
  .max(65535, PORT);

/** Any text but none at all. */
export const text = z.string().min(1, 'must not be empty');

/** A map whose keys are the user's own; values are always strings. */
export const textMap = z.record(z.string(), z.string());

const NAME = /^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/;
const NAME_RULE = 'only letters, digits and hyphens are allowed, a letter first and no hyphen last';

/** Names of steps, inputs, outputs, resources and forks. */
export const name = (max: number) =>
  z.string().max(max, `must have at most ${max} characters`).regex(NAME, NAME_RULE);

/** `step.output`. */
export const outputKey = z
  .string()
  .regex(
    /^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/,
    'must be STEP.OUTPUT, e.g. provision.connection-string',
  );

/** Name of an environment variable: what environ(7) can hold. */
export const envName = z
  .string()
  .regex(/^[^=\0]+$/, 'must be the name of an environment variable, without "="');

/** A file's path; relative ones are meant from the working directory of whoever reads or writes it. */
export const path = z.string().regex(/^[^\0]+$/, 'must be a path');

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
  z.string().refine(value => Buffer.byteLength(value) <= max, `must have at most ${max} bytes`);

/** A list whose items are compared with each other or with those of other lists, so its length has a cap. */
export const shortList = <T extends z.ZodType>(item: T) =>
  z.array(item).max(100, 'must have at most 100 items');
