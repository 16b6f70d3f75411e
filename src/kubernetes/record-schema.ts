/** The shape of what is no document: specs of projects, branches, tombstones and API keys, as objects of a cluster hold them. */
import { z } from 'zod';
import {
  type BranchReset,
  type BranchSpec,
  LEAST_PORT,
  MOST_PORT,
  MOST_SLEEP_AFTER_SECONDS,
  type ProjectSpec,
  type SleepCall,
} from '../model/branch.ts';
import { shortList } from '../model/document/fields.ts';
import { MOST_SETTINGS } from '../model/server-settings.ts';
import type { TrashedProject } from '../model/trash.ts';

/** Each field of the type, and no other: what a schema does not name an API server would drop without a word. */
type Fields<T> = { readonly [K in keyof T]-?: z.ZodType };

const text = z.string().min(1).max(253);
const long = z.string().min(1).max(1024);
const time = z.string().max(64);
const bytes = z.int().min(0);
const seconds = z.number().min(0).max(MOST_SLEEP_AFTER_SECONDS);
/** As names of databases and roles are (NAMEDATALEN of PostgreSQL, less one). */
const identifier = z.string().min(1).max(63);

/** See model/server-settings.ts, which says which there are. */
const settings = z.record(z.string().max(63), z.string().max(253)).meta({ maxProperties: MOST_SETTINGS });

const trashedFields = { at: time, until: time };

export const projectSchema = z.strictObject({
  database: identifier,
  role: identifier,
  branchLimitBytes: bytes.optional(),
  rolePasswords: z.enum(['ended', 'kept', 'branch']).optional(),
  settings: settings.optional(),
  maxBranches: z.int().min(0).optional(),
  sleepAfterSeconds: seconds.optional(),
  trashed: z.strictObject({ ...trashedFields, name: text } satisfies Fields<TrashedProject>).optional(),
  node: text.optional(),
  takesOver: text.optional(),
  // Nothing comes from elsewhere there yet: `import/not-here`.
} satisfies Fields<Omit<ProjectSpec, 'import' | 'postgres'>>);

export const branchSchema = z.strictObject({
  project: text,
  name: z.string().min(1).max(255),
  parent: text.optional(),
  owner: text.optional(),
  afterOwner: z.enum(['trash']).optional(),
  limitBytes: bytes.optional(),
  sleepAfterSeconds: seconds.optional(),
  silentAfterSeconds: seconds.optional(),
  port: z.int().min(LEAST_PORT).max(MOST_PORT).optional(),
  settings: settings.optional(),
  called: z
    .strictObject({
      count: z.int().min(1),
      wanted: z.enum(['asleep', 'awake']),
      force: z.boolean().optional(),
    } satisfies Fields<SleepCall>)
    .optional(),
  scheduledDeleteTime: time.optional(),
  protected: z.boolean().optional(),
  reset: z
    .strictObject({ count: z.int().min(1), from: text, at: time } satisfies Fields<
      Omit<BranchReset, 'moment'>
    >)
    .optional(),
  trashed: z.strictObject(trashedFields).optional(),
  // Moments that are over are not kept there yet: `history/in-a-cluster`.
} satisfies Fields<Omit<BranchSpec, 'moment' | 'history'>>);

export const tombstoneSchema = z.strictObject({
  sandbox: text,
  forks: shortList(z.strictObject({ kind: text, namespace: text, name: text })),
});

export const keySchema = z.strictObject({ label: long, hash: long, preview: text });
