/** Reading Kubernetes manifests: the kinds that make up a baseline, checked, completed and frozen. */
import type { Manifest } from '../kubernetes.ts';
import { similarName } from '../names.ts';
import { wellFormed } from './loose.ts';
import { completeManifest } from './manifest-defaults.ts';
import { manifestRules } from './manifest-rules.ts';
import { type ManifestDocument, manifestSchemas } from './manifest-schema.ts';
import { deploymentWarnings } from './manifest-warnings.ts';
import {
  documentError,
  type Finding,
  formatProblem,
  type Locate,
  type Path,
  type Problem,
  toProblem,
} from './problem.ts';
import { checkShape, deepFreeze, withoutNulls } from './shape.ts';
import { parseYaml, type Source, syntaxProblems } from './yaml.ts';

export type Manifests = {
  /** Deeply frozen, with namespace and defaults filled in, in the order of the text. */
  readonly manifests: readonly Manifest[];
  /** Sentences about parts that a process runtime does not honour. */
  readonly warnings: readonly string[];
};

/**
 * Reads the manifests of one YAML or JSON text: several documents, and Lists.
 * @throws OffshootError document/invalid with every problem and its place
 */
export const readManifests = (source: Source): Manifests => readManifestFiles([source]);

/**
 * The same for several texts, in which an object may stand only once.
 * @throws OffshootError document/invalid with every problem of all texts
 */
export function readManifestFiles(sources: readonly Source[]): Manifests {
  const texts = sources.map(({ text, file }) => ({ file, ...parseYaml(text) }));
  const read = texts
    .flatMap(({ file, documents }) =>
      documents.flatMap(({ value, locate }) => entriesOf({ file, locate, value, path: [] })),
    )
    .map(readEntry);
  const problems = [
    ...texts.flatMap(({ file, errors }) => syntaxProblems(file, errors)),
    ...read.flatMap(r => r.problems),
    ...duplicates(read),
  ];
  if (problems.length > 0) {
    const files = [...new Set(problems.map(problem => problem.file))];
    throw documentError(
      'document/invalid',
      files.length === 1 ? files[0]! : `the text of ${files.length} files`,
      problems,
    );
  }
  return {
    manifests: deepFreeze(read.flatMap(r => r.manifest ?? [])),
    warnings: read.flatMap(r => r.warnings),
  };
}

// --- internal -----------------------------------------------------------------------------------

/** Fields that hold maps with keys of the user's own. */
const USER_MAPS: ReadonlySet<string> = new Set([
  'labels',
  'annotations',
  'matchLabels',
  'selector',
  'data',
  'stringData',
]);

/** One object, as it stands in a file. */
type Entry = {
  readonly file: string;
  readonly locate: Locate;
  readonly value: unknown;
  /** Not empty for an object inside a List. */
  readonly path: Path;
};

type EntryRead = {
  readonly entry: Entry;
  readonly manifest?: Manifest;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
};

function entriesOf(entry: Entry): readonly Entry[] {
  const { kind, items } = asObject(entry.value);
  if (kind !== 'List' || !Array.isArray(items)) return [entry];
  return items.map((value, i) => ({ ...entry, value, path: ['items', i] }));
}

function readEntry(entry: Entry): EntryRead {
  const place = (finding: Finding) =>
    toProblem(entry.file, { ...finding, path: [...entry.path, ...finding.path] }, entry.locate);
  const value = withoutNulls(entry.value, USER_MAPS);
  const { kind } = asObject(value);
  if (!isKnownKind(kind)) return { entry, problems: [place(kindFinding(value))], warnings: [] };
  const { findings, data } = checkShape<ManifestDocument>(manifestSchemas[kind], value);
  const rest = wellFormed(
    value,
    findings.map(finding => finding.path),
  );
  const rules = rest === undefined ? [] : (manifestRules[kind]?.(rest as never) ?? []);
  const problems = [...findings, ...rules].map(place);
  if (data === undefined || problems.length > 0) return { entry, problems, warnings: [] };
  // The schemas check what the types say; they differ in how they write optional fields.
  const manifest = completeManifest(data as unknown as Manifest);
  const warnings = manifest.kind === 'Deployment' ? deploymentWarnings(manifest) : [];
  return {
    entry,
    manifest,
    problems,
    warnings: warnings.map(warning => formatProblem(place(warning))),
  };
}

const isKnownKind = (kind: unknown): kind is keyof typeof manifestSchemas =>
  typeof kind === 'string' && Object.hasOwn(manifestSchemas, kind);

function kindFinding(value: unknown): Finding {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { path: [], message: 'expected an object with apiVersion, kind and metadata' };
  const { kind } = asObject(value);
  if (kind === undefined) return { path: ['kind'], message: 'missing field "kind"', at: 'key' };
  if (kind === 'List') return { path: ['items'], message: 'a List needs a list of items', at: 'key' };
  if (typeof kind !== 'string') return { path: ['kind'], message: 'expected a string' };
  const known = Object.keys(manifestSchemas);
  return {
    path: ['kind'],
    message: `kind ${kind} is not supported; the kinds that are: ${known.join(', ')}`,
    suggestion: similarName(kind, known),
  };
}

function duplicates(read: readonly EntryRead[]): Problem[] {
  const seen = new Map<string, Entry>();
  return read.flatMap(({ manifest, entry }) => {
    if (manifest === undefined) return [];
    const { namespace, name } = manifest.metadata;
    const id = `${manifest.kind} ${manifest.kind === 'Namespace' ? name : `${namespace}/${name}`}`;
    const first = seen.get(id);
    if (first === undefined) {
      seen.set(id, entry);
      return [];
    }
    const path = [...entry.path, 'metadata', 'name'];
    const before = `${first.file}:${first.locate([...first.path, 'metadata', 'name']).line}`;
    return [toProblem(entry.file, { path, message: `${id} stands already at ${before}` }, entry.locate)];
  });
}

const asObject = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
