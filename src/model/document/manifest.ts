/**
 * Reading Kubernetes manifests: the kinds that make up a baseline, checked, completed and frozen. Other kinds are left
 * out, not refused: a folder that was written for a cluster has many.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { deepFreeze } from '../freeze.ts';
import type { Manifest } from '../kubernetes.ts';
import { nameOfManifest } from '../manifest-name.ts';
import { wellFormed } from './loose.ts';
import { completeManifest } from './manifest-defaults.ts';
import { type Effect, effectOf, type LeftOut, leftOutLine } from './manifest-kinds.ts';
import { manifestRules } from './manifest-rules.ts';
import { type ManifestDocument, manifestSchemas } from './manifest-schema.ts';
import { type Kept, manifestWarnings } from './manifest-warnings.ts';
import {
  documentError,
  type Finding,
  formatPath,
  formatProblem,
  type Locate,
  type Path,
  type Position,
  type Problem,
  toProblem,
} from './problem.ts';
import { checkShape, withoutNulls } from './shape.ts';
import { parseYamlStream, type Source, syntaxProblems } from './yaml.ts';

export type Manifests = {
  /** Deeply frozen, with namespace and defaults filled in, in the order of the text. */
  readonly manifests: readonly Manifest[];
  /** In which file each of them stands. */
  readonly files: readonly string[];
  /** About parts that a process runtime does not honour. */
  readonly warnings: readonly Warning[];
  readonly leftOut: readonly LeftOut[];
};

export type Warning = {
  /** A sentence with its place. */
  readonly text: string;
  /** The same wherever in the files it stands. */
  readonly id: string;
};

export type ManifestSource = Source & {
  /** It was not named but found in a folder, where files that hold no objects may be, too. */
  readonly found?: boolean;
};

export type ReadOptions = {
  /** Objects that would be left out are problems. */
  readonly strict?: boolean;
  /** Of objects that name none; one that names another is a problem. */
  readonly namespace?: string;
  /** Limits of containers that are kept where they will run; default: all that can be. */
  readonly keeps?: readonly Kept[];
};

/**
 * Reads the manifests of one YAML or JSON text: several documents, and Lists.
 * @throws OffshootError document/invalid with every problem and its place
 */
export const readManifests = (source: ManifestSource): Manifests => readManifestFiles([source]);

/**
 * The same for several texts. Of an object that stands in several places the last one counts, as kubectl has it.
 * @throws OffshootError document/invalid with every problem of all texts; document/not-supported
 */
export function readManifestFiles(
  sources: readonly ManifestSource[],
  {
    strict = false,
    keeps = ['memory', 'cpu', 'ports', 'volumes', 'memory-volumes', 'names', 'processes'],
    namespace,
  }: ReadOptions = {},
): Manifests {
  const all: EntryRead[] = [];
  const syntax: Problem[] = [];
  const repeated: Problem[] = [];
  for (const { text, file, found = false } of sources) {
    for (const { documents, errors } of parseYamlStream(text, MAX_OBJECT_BYTES)) {
      syntax.push(...syntaxProblems(file, errors));
      for (const { value, locate, repeated: keys } of documents) {
        for (const key of keys) repeated.push({ file, path: '', ...key });
        for (const entry of entriesOf({ file, found, locate, value, path: [] }, 0))
          all.push(readEntry(entry, { keeps, namespace }));
      }
    }
  }
  const { read, repeated: objects } = withoutDuplicates(all);
  const problems = [...syntax, ...read.flatMap(r => r.problems), ...(strict ? objects : [])];
  if (problems.length > 0) throw errorOf('document/invalid', problems);
  const leftOut = read.flatMap(r => r.leftOut ?? []);
  if (strict && leftOut.length > 0) throw errorOf('document/not-supported', leftOut.map(problemOf));
  return {
    manifests: deepFreeze(read.flatMap(r => r.manifest ?? [])),
    files: read.flatMap(r => (r.manifest === undefined ? [] : [r.file])),
    warnings: [...[...repeated, ...objects].map(lastCounts), ...read.flatMap(r => r.warnings)],
    leftOut,
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Fields that hold maps from keys of the user's own to texts. */
const TEXT_MAPS: ReadonlySet<string> = new Set([
  ...['labels', 'annotations', 'matchLabels', 'nodeSelector', 'data', 'stringData'],
]);

/** Those of a Service, too, whose selector is one. */
const TEXT_MAPS_OF_SELECTING: ReadonlySet<string> = new Set([...TEXT_MAPS, 'selector']);
const SELECTING: readonly unknown[] = ['Service', 'ReplicationController'];

/** A text that is null is an empty one, as where it is read in Go. */
const emptied = (item: unknown): unknown => item ?? '';

/** One object, as it stands in a file. */
type Entry = {
  readonly file: string;
  readonly found: boolean;
  readonly locate: Locate;
  readonly value: unknown;
  /** Not empty for an object inside a List. */
  readonly path: Path;
};

/** What an entry came to. It holds nothing of the text, which may be long. */
type EntryRead = {
  readonly file: string;
  readonly path: Path;
  /** Of its name. */
  readonly at?: Position;
  readonly manifest?: Manifest;
  readonly leftOut?: LeftOut;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Warning[];
};

/** Of one document; an API server takes 3 MiB (`--max-request-bytes` of etcd is 1.5 MiB). */
const MAX_OBJECT_BYTES = 4 * 1024 * 1024;
const MAX_NESTED_LISTS = 5;

/** The items of a List, also of one kind of object as `kubectl get -o yaml` prints them (`DeploymentList`). */
function entriesOf(entry: Entry, depth: number): readonly Entry[] {
  const { apiVersion, kind, items } = asObject(entry.value);
  if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return [entry];
  if (depth === MAX_NESTED_LISTS) return [entry];
  // Those of a list of one kind need not say it again, as an API server prints them.
  const own = kind === 'List' ? {} : { apiVersion, kind: kind.slice(0, -'List'.length) };
  return items.flatMap((item, i) => {
    const value = isObject(item) ? { ...own, ...item } : item;
    return entriesOf({ ...entry, value, path: [...entry.path, 'items', i] }, depth + 1);
  });
}

type EntryOptions = { readonly keeps: readonly Kept[]; readonly namespace: string | undefined };

function readEntry(entry: Entry, { keeps, namespace }: EntryOptions): EntryRead {
  const { file, path } = entry;
  const place = (finding: Finding) =>
    toProblem(file, { ...finding, path: [...path, ...finding.path] }, entry.locate);
  const maps = SELECTING.includes(asObject(entry.value).kind) ? TEXT_MAPS_OF_SELECTING : TEXT_MAPS;
  const value = named(withoutNulls(entry.value, maps, emptied));
  const effect = effectIn(entry, value);
  if (typeof effect === 'object') return { file, path, problems: [place(effect)], warnings: [] };
  if (effect !== 'read')
    return { file, path, leftOut: leftOutOf(entry, value, effect), problems: [], warnings: [] };
  const kind = (value as { kind: keyof typeof manifestSchemas }).kind;
  const { findings, data } = checkShape<ManifestDocument>(manifestSchemas[kind], value);
  const rest = wellFormed(
    value,
    findings.map(finding => finding.path),
  );
  const rules = rest === undefined ? [] : (manifestRules[kind]?.(rest as never) ?? []);
  const problems = [...findings, ...rules, ...elsewhere(rest, namespace)].map(place);
  if (data === undefined || problems.length > 0) return { file, path, problems, warnings: [] };
  // The schemas check what the types say; they differ in how they write optional fields.
  const manifest = completeManifest(inNamespace(data as unknown as Manifest, namespace));
  const id = nameOfManifest(manifest);
  return {
    file,
    path,
    at: entry.locate([...path, 'metadata', 'name']),
    manifest,
    problems,
    warnings: manifestWarnings(manifest, value, keeps).map(warning => ({
      text: formatProblem(place(warning)),
      id: `${id} ${formatPath(warning.path)} ${warning.message}`,
    })),
  };
}

/** As kubectl has it: a namespace that is asked for is for objects that name none. */
function elsewhere(value: unknown, namespace: string | undefined): readonly Finding[] {
  const own = asObject(asObject(value).metadata).namespace;
  if (namespace === undefined || typeof own !== 'string' || own === '' || own === namespace) return [];
  return [
    {
      path: ['metadata', 'namespace'],
      message: `"${own}" is not the namespace "${namespace}" that was asked for`,
    },
  ];
}

const inNamespace = (manifest: Manifest, namespace: string | undefined): Manifest =>
  namespace === undefined || manifest.kind === 'Namespace'
    ? manifest
    : { ...manifest, metadata: { ...manifest.metadata, namespace } };

/**
 * `generateName`: a cluster makes another name each time. Here it is always the same for the same content, so that what
 * is applied unchanged is not another object.
 */
function named(value: unknown): unknown {
  const { metadata } = asObject(value);
  const { name, generateName } = asObject(metadata);
  if (name !== undefined || typeof generateName !== 'string') return value;
  const digest = createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 5);
  return { ...asObject(value), metadata: { ...asObject(metadata), name: `${generateName}${digest}` } };
}

const lastCounts = (problem: Problem): Warning => ({
  text: `${formatProblem(problem)}; the last one counts`,
  id: `${problem.file} ${problem.message.replace(/:\d+(?=, and differs$)/, '')}`,
});

/** A file of Kustomize beside the manifests is no object of a cluster, and often says not even its kind. */
function effectIn({ file, found, path }: Entry, value: unknown): Effect | Finding {
  const { apiVersion, kind, metadata } = asObject(value);
  const says = apiVersion !== undefined || kind !== undefined || metadata !== undefined;
  if (found && path.length === 0 && !says && !/^kustomization\.ya?ml$/i.test(basename(file)))
    return 'no-object';
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { path: [], message: 'expected an object with apiVersion, kind and metadata' };
  if (/^kustomization\.ya?ml$/i.test(basename(file)) && !('kind' in value)) return 'kustomize';
  return effectOf(value);
}

function leftOutOf({ file, locate, path }: Entry, value: unknown, effect: LeftOut['effect']): LeftOut {
  const {
    kind = effect === 'no-object' ? basename(file) : 'Kustomization',
    apiVersion = '',
    metadata,
  } = asObject(value);
  const { name, namespace } = asObject(metadata);
  return {
    kind: String(kind),
    apiVersion: String(apiVersion),
    ...(typeof namespace === 'string' && { namespace }),
    ...(typeof name === 'string' && { name }),
    effect,
    file,
    ...locate(path),
  };
}

const problemOf = (leftOut: LeftOut): Problem => {
  const { file, line, column } = leftOut;
  const place = line === undefined || column === undefined ? {} : { line, column };
  const sentence = leftOutLine({ ...leftOut, file: '' }).replace(/^[\d:]* /, '');
  return { file, ...place, path: '', message: sentence };
};

function errorOf(code: 'document/invalid' | 'document/not-supported', problems: readonly Problem[]) {
  const files = [...new Set(problems.map(problem => problem.file))];
  return documentError(code, files.length === 1 ? files[0]! : `the text of ${files.length} files`, problems, {
    hint: 'mend what the problems name, then repeat',
  });
}

/** Files often repeat an object that they share, most of all their Namespace. Of several that differ the last one counts. */
function withoutDuplicates(read: readonly EntryRead[]): {
  readonly read: readonly EntryRead[];
  readonly repeated: readonly Problem[];
} {
  const last = new Map<string, EntryRead>();
  const repeated: Problem[] = [];
  for (const one of read) {
    const { manifest, file, path, at } = one;
    if (manifest === undefined) continue;
    const { namespace, name } = manifest.metadata;
    const id = `${manifest.kind} ${manifest.kind === 'Namespace' ? name : `${namespace}/${name}`}`;
    const before = last.get(id);
    if (before !== undefined && isDeepStrictEqual(before.manifest, manifest)) continue;
    last.set(id, one);
    if (before === undefined) continue;
    const message = `${id} stands already at ${before.file}:${before.at!.line}, and differs`;
    repeated.push({ file, ...at, path: formatPath([...path, 'metadata', 'name']), message });
  }
  const kept = new Set(last.values());
  return { read: read.filter(one => one.manifest === undefined || kept.has(one)), repeated };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const asObject = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
