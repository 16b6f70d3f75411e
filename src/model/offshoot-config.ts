/** offshoot.yaml: how images run here without containers, what an environment of a git branch is made of, and what brings databases up to date. */
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { type Locate, type Path, toProblem } from './document/problem.ts';
import { checkShape, mapChildren } from './document/shape.ts';
import type { EnvironmentConfig, EnvironmentDatabase } from './environment.ts';
import { OffshootError } from './errors.ts';
import type { ImageMap, ImageSpec, Preparation } from './image.ts';
import type { PodTemplate } from './kubernetes.ts';
import type { Migration } from './migration.ts';
import { builtinOutputs } from './plugin.ts';
import { workloadAtPath } from './workload.ts';

export type OffshootConfig = {
  readonly images: ImageMap;
  /** Absent: the file says nothing of environments. */
  readonly environment?: EnvironmentConfig;
  /** Absent: it has no migrations. */
  readonly migrate?: Migration;
};

/** The text that a document was read from, and where its nodes stand there. */
type Written = { readonly text: string; readonly locate: Locate };

/**
 * Checks the parsed content of an offshoot.yaml. All in it are texts: numbers and booleans mean what is written.
 * @param file its path; a relative `dir` counts from the folder that holds it
 * @throws OffshootError workload/config-bad with every problem
 */
export function parseOffshootConfig(document: unknown, file: string, written?: Written): OffshootConfig {
  const { findings, data } = checkShape(configSchema, asTexts(document ?? {}, [], written));
  if (data === undefined) {
    const problems = findings.map(finding => toProblem(file, finding, written?.locate));
    throw new OffshootError('workload/config-bad', { file, count: problems.length }, { problems });
  }
  const images: Record<string, ImageSpec> = {};
  for (const [key, { dir, runtime, ...entry }] of Object.entries(data.images))
    images[key] = withoutUndefined({
      ...{ ...entry, dir: resolve(dirname(file), dir) },
      ...(runtime !== undefined && { runtime: { name: runtime } }),
    });
  const { environment, migrate } = data;
  return {
    images,
    ...(environment && { environment }),
    ...(migrate && { migrate: { ...migrate, dir: resolve(dirname(file), migrate.dir) } }),
  };
}

/**
 * The entry for an image: the key must be the end of the repository (whole path segments), and its tag, if
 * it has one, must be the image's. Of several the one with more segments wins, then the one with a tag
 * spelled out, then the one with a placeholder: that counts only where its folder is there, unless no other fits.
 * @param isThere whether there is a folder; default: all are
 * @returns the entry with the placeholder of its key filled in; undefined when none fits
 */
export const findImage = (images: ImageMap, image: string, isThere?: IsThere): ImageSpec | undefined =>
  findEntry(images, image, isThere)?.spec;

type IsThere = (folder: string) => boolean;

/** The same with the key of the entry. */
export function findEntry(
  images: ImageMap,
  image: string,
  isThere: IsThere = () => true,
): { readonly key: string; readonly spec: ImageSpec } | undefined {
  const wanted = parseReference(image);
  const tag = wanted.tag ?? 'latest';
  let best: { rank: number; key: string; spec: ImageSpec } | undefined;
  for (const [key, spec] of Object.entries(images)) {
    const { segments, tag: keyTag } = parseReference(key);
    if (segments.some((s, i) => s !== wanted.segments.at(i - segments.length))) continue;
    const placeholder = keyTag && PLACEHOLDER.exec(keyTag)?.[1];
    // A tag that is no tag (`../..`) must never become part of a path.
    if (placeholder ? !TAG.test(tag) : keyTag !== undefined && keyTag !== tag) continue;
    const filled = placeholder ? fill(spec, `{${placeholder}}`, tag) : spec;
    const missing = placeholder && !isThere(filled.dir);
    const rank = missing ? -1 : segments.length * 3 + (placeholder ? 1 : keyTag ? 2 : 0);
    if (best !== undefined && best.rank >= rank) continue;
    best = { rank, key, spec: filled };
  }
  return best;
}

/**
 * What `tables` say of the images that a pod names, by those names; of several tables the first that has an entry counts.
 * @param isThere see `findImage`
 */
export function imagesOfPod({ spec }: PodTemplate, tables: readonly ImageMap[], isThere?: IsThere): ImageMap {
  const names = new Set([...spec.containers, ...(spec.initContainers ?? [])].map(({ image }) => image));
  const found = [...names].sort().flatMap(name => {
    const entry = tables.map(table => findImage(table, name, isThere)).find(entry => entry !== undefined);
    return entry === undefined ? [] : [[name, entry] as const];
  });
  return Object.fromEntries(found);
}

/** The key to propose for an image that has no entry: the last part of its repository. */
export const imageKeyFor = (image: string): string => parseReference(image).segments.at(-1)!;

// --- internal -----------------------------------------------------------------------------------

const PLACEHOLDER = /^\{([a-z][a-z0-9-]*)\}$/;

// OCI distribution specification, "Pulling manifests".
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const KEY = /^[a-z0-9][a-z0-9._:/-]*(:(\{[a-z][a-z0-9-]*\}|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}))?$/;

/** A text is a line for a shell. */
const commandLine = z
  .union([z.string().min(1).max(10_000), z.array(z.string()).min(1)])
  .transform(command => (typeof command === 'string' ? ['sh', '-c', command] : command));
const globs = z.array(z.string().min(1).max(1_000)).min(1).max(100);
const DURATION = /^(\d{1,5})(s|m|h)$/;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;
const duration = z
  .string()
  .regex(DURATION, 'is not a time, e.g. 90s or 20m')
  .transform(text => {
    const [, count, unit] = DURATION.exec(text)!;
    return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  });

const preparation = z.union([
  commandLine.transform((command): Preparation => ({ command })),
  z
    .strictObject({ run: commandLine, inputs: globs.optional(), timeout: duration.optional() })
    .transform(
      ({ run, inputs, timeout }): Preparation =>
        withoutUndefined({ command: run, inputs, timeoutMs: timeout }),
    ),
]);

const runtimeName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, 'is not the name of a program, e.g. node or python');

const variable = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not the name of a variable');
const OUTPUTS = builtinOutputs['branch/create'];

/** A path that cannot lead out of the folder. */
const pathBelow = z
  .string()
  .min(1)
  .max(1_000)
  .refine(
    path => !path.startsWith('/') && !path.split('/').some(part => part === '..' || part === '.git'),
    'must be a path below the folder of the file, e.g. node_modules',
  );

const environment = z.strictObject({
  forks: z
    .array(
      z
        .string()
        .refine(
          path => workloadAtPath(path) !== undefined,
          'is no workload; write NAMESPACE/NAME of a Deployment, or KIND/NAMESPACE/NAME',
        ),
    )
    .min(1)
    .max(100)
    .optional(),
  endpoints: z.record(z.string(), z.string()).optional(),
  database: z
    .union([
      variable.transform((name): EnvironmentDatabase => ({ variables: { [name]: 'connection-string' } })),
      z
        .strictObject({
          project: z.string().min(1).optional(),
          variables: z.record(variable, z.enum(OUTPUTS as [string, ...string[]])),
        })
        .transform((database): EnvironmentDatabase => withoutUndefined(database)),
    ])
    .optional(),
  copy: z.array(pathBelow).min(1).max(100).optional(),
});

const migrate = z
  .strictObject({
    dir: z.string().min(1).default('.'),
    command: commandLine,
    env: z.record(variable, z.string()).optional(),
    setup: preparation.optional(),
    runtime: runtimeName.optional(),
    inputs: globs.optional(),
    timeout: duration.optional(),
    project: z.string().min(1).optional(),
  })
  .transform(
    ({ timeout, runtime, ...rest }): Migration =>
      withoutUndefined({
        ...rest,
        timeoutMs: timeout,
        runtime: runtime === undefined ? undefined : { name: runtime },
      }),
  );

const configSchema = z.strictObject({
  migrate: migrate.optional(),
  environment: environment.transform((config): EnvironmentConfig => withoutUndefined(config)).optional(),
  images: z
    .record(
      z.string().regex(KEY, 'is not an image name, e.g. users-service or users-service:{ref}'),
      z
        .strictObject({
          dir: z.string().min(1),
          command: z.array(z.string()).min(1),
          args: z.array(z.string()).optional(),
          env: z.record(variable, z.string()).optional(),
          programs: z.record(z.string().min(1), z.array(z.string()).min(1)).optional(),
          setup: preparation.optional(),
          build: preparation.optional(),
          runtime: runtimeName.optional(),
          watch: globs.optional(),
          reload: z.literal('app').optional(),
        })
        .refine(({ watch, reload }) => watch === undefined || reload === undefined, {
          path: ['reload'],
          error: 'who watches itself is not watched: leave out "watch" or "reload"',
        }),
    )
    .default({}),
});

/** What is not said is not there. */
function withoutUndefined<T extends object>(value: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}

/** `[node, app.js, 8080]`: what stands there, since `1.10` as a number has lost its end. */
function asTexts(node: unknown, path: Path, written: Written | undefined): unknown {
  if (typeof node !== 'number' && typeof node !== 'boolean')
    return mapChildren(node, (child, step) => asTexts(child, [...path, step], written));
  if (written === undefined) return String(node);
  const { line, column } = written.locate(path);
  const rest = written.text.split(/\r?\n/, line)[line - 1]?.slice(column - 1) ?? '';
  return /^[-+\w.]+/.exec(rest)?.[0] ?? String(node);
}

function parseReference(image: string): { segments: readonly string[]; tag: string | undefined } {
  const [name = ''] = image.split('@', 1); // what follows is a digest
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1); // an earlier colon is the registry's port
  const repository = colon < 0 ? name : name.slice(0, colon);
  return { segments: repository.split('/'), tag: colon < 0 ? undefined : name.slice(colon + 1) };
}

function fill(spec: ImageSpec, placeholder: string, value: string): ImageSpec {
  const put = (text: string) => text.replaceAll(placeholder, () => value);
  return {
    ...spec,
    dir: put(spec.dir),
    command: spec.command.map(put),
    ...(spec.args && { args: spec.args.map(put) }),
    ...(spec.env && {
      env: Object.fromEntries(Object.entries(spec.env).map(([name, text]) => [name, put(text)])),
    }),
    ...(spec.programs && {
      programs: Object.fromEntries(
        Object.entries(spec.programs).map(([name, command]) => [name, command.map(put)]),
      ),
    }),
    ...(spec.setup && { setup: { ...spec.setup, command: spec.setup.command.map(put) } }),
    ...(spec.build && { build: { ...spec.build, command: spec.build.command.map(put) } }),
  };
}
