/**
 * YAML (and JSON, which is a part of it) to plain values, with the place of every node. Written for text
 * that nobody vouches for: size, depth and what aliases multiply are capped.
 */
import type { Alias, LineCounter, Node, Parser, ScalarTag, YAMLMap } from 'yaml';
import { yaml } from '../yaml-package.ts';
import { documentError, type Locate, type Path, type Position, type Problem } from './problem.ts';
import { forgivingLexer } from './yaml-lexer.ts';

/** A text and the name under which problems report it. */
export type Source = { readonly text: string; readonly file: string };

export type YamlDocument = {
  /** null, booleans, numbers, strings, arrays and plain objects only. */
  readonly value: unknown;
  readonly locate: Locate;
  /** Keys that stand again in their mapping, where that is allowed. */
  readonly repeated: readonly YamlError[];
};

export type YamlError = Partial<Position> & { readonly message: string };

/** Bytes of one text. */
export const MAX_BYTES = 1024 * 1024;
const MAX_DEPTH = 100;
/** Nodes that all aliases of a text together may stand for. */
const MAX_ALIASED_NODES = 10_000;

/**
 * The one document of `source`.
 * @throws OffshootError document/invalid with every syntax problem; also when the text is empty or holds more than one document
 */
export function readDocument({ text, file }: Source): YamlDocument {
  const { documents, errors } = parseYaml(text);
  const [first, second] = documents;
  if (errors.length === 0 && first !== undefined && second === undefined) return first;
  const found: YamlError[] = [...errors];
  if (second !== undefined)
    found.push({
      ...second.locate([]),
      message: `one document is expected, this is one of ${documents.length}`,
    });
  else if (errors.length === 0) found.push({ message: 'there is no document in it' });
  throw documentError('document/invalid', file, syntaxProblems(file, found));
}

export const syntaxProblems = (file: string, errors: readonly YamlError[]): readonly Problem[] =>
  errors.map(error => ({ file, path: '', ...error }));

export type YamlDocuments = {
  readonly documents: readonly YamlDocument[];
  readonly errors: readonly YamlError[];
};

/**
 * A stream of any length, piece by piece as it is asked for, so that no more than one is in memory as nodes. Never throws.
 * Of a key that stands twice the last one counts, as kubectl has it.
 * @param maxBytes of one piece, which is one document unless the text has directives
 */
export function* parseYamlStream(text: string, maxBytes: number): Generator<YamlDocuments> {
  for (const { start, end, line } of pieces(text))
    yield parseYaml(text.slice(start, end), { linesBefore: line, maxBytes, repeats: 'last' });
}

export type ParseOptions = {
  readonly linesBefore?: number;
  readonly maxBytes?: number;
  /** Of a key that stands twice; default: it is an error. */
  readonly repeats?: 'last';
};

/** All documents of `text` that are not empty, or all that is wrong with it. Never throws. */
export function parseYaml(
  text: string,
  { linesBefore = 0, maxBytes = MAX_BYTES, repeats }: ParseOptions = {},
): YamlDocuments {
  if (Buffer.byteLength(text) > maxBytes) {
    const place = linesBefore === 0 ? {} : { line: linesBefore + 1, column: 1 };
    return {
      documents: [],
      errors: [{ ...place, message: `the text is larger than ${maxBytes / 1024} KiB` }],
    };
  }
  const lines = new (yaml().LineCounter)();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1) + linesBefore, column: Math.max(col, 1) };
  };
  // Duplicate keys, merge keys and aliases are resolved below: the library compares keys pairwise and
  // resolves each alias by a walk over the whole document, which makes long hostile files slow.
  const composer = new (yaml().Composer)({
    prettyErrors: false,
    schema: 'core',
    customTags: tags => [octal, ...tags],
    resolveKnownTags: false,
    uniqueKeys: false,
  });
  const parsed = composer.compose(tokens(text, lines));
  const documents: YamlDocument[] = [];
  const errors: YamlError[] = [];
  for (const document of parsed) {
    const faults = [...document.errors, ...document.warnings];
    if (faults.some(fault => fault.code === 'RESOURCE_EXHAUSTION')) {
      // The parser ran out of stack; whatever else it reports follows from that.
      return { documents: [], errors: [{ message: TOO_DEEP }] };
    }
    for (const { pos, message } of faults) errors.push({ ...position(pos[0]), message: lowerFirst(message) });
    if (faults.length > 0 || document.contents === null || isEmpty(document.contents)) continue;
    const reader = new NodeReader();
    const { value, spot } = reader.read(document.contents, 0);
    const placed = ({ offset, message }: Fault) => ({ ...position(offset), message });
    const repeated = reader.repeated.map(placed);
    for (const fault of reader.faults) errors.push(placed(fault));
    if (repeats !== 'last') for (const error of repeated) errors.push(error);
    documents.push({ value, locate: (path, part) => position(offsetOf(spot, path, part)), repeated });
  }
  return { documents, errors };
}

// --- internal -----------------------------------------------------------------------------------

type Fault = { readonly offset: number; readonly message: string };

function* tokens(text: string, lines: LineCounter): ReturnType<Parser['parse']> {
  const parser = new (yaml().Parser)(lines.addNewLine);
  lines.addNewLine(0);
  // Files that were joined may have a mark at the beginning of each.
  const clean = text.replace(/^(---.*\n)?\uFEFF/, '$1');
  for (const lexeme of forgivingLexer().lex(clean)) yield* parser.next(lexeme);
  yield* parser.end();
}

/**
 * Where a stream can be cut: a line that begins with `---` begins a document wherever it stands (YAML 1.2.2 section
 * 9.1.2). Directives come before it and belong to what follows, so a text that may have some is left whole.
 */
function* pieces(text: string): Generator<{ start: number; end: number; line: number }> {
  if (/^%/m.test(text)) return yield { start: 0, end: text.length, line: 0 };
  const mark = /^---(?=\s|$)/gm;
  let start = 0;
  let line = 0;
  for (let found = mark.exec(text); ; found = mark.exec(text)) {
    const end = found?.index ?? text.length;
    if (end > start) {
      yield { start, end, line };
      for (let i = text.indexOf('\n', start); i >= 0 && i < end; i = text.indexOf('\n', i + 1)) line++;
    }
    start = end;
    if (found === null) return;
  }
}

/** As in YAML 1.1, which Kubernetes reads: `defaultMode: 0400` is what chmod(1) takes it for. */
const octal: ScalarTag = {
  identify: value => typeof value === 'number',
  default: true,
  tag: 'tag:yaml.org,2002:int',
  format: 'OCT',
  test: /^[-+]?0[0-7]+$/,
  resolve: text => Number.parseInt(text, 8),
};

const TOO_DEEP = `it is nested deeper than ${MAX_DEPTH} levels`;

/** Offsets into the text of a node, its key and what is below it. */
type Spot = {
  readonly key?: number;
  readonly value: number;
  readonly children?: ReadonlyMap<string | number, Spot>;
};

/** What a node became. `nodes` and `height` count what an alias to it multiplies. */
type Read = {
  readonly value: unknown;
  readonly spot: Spot;
  readonly nodes: number;
  readonly height: number;
};

/** Turns one document's nodes into values. Anchors are looked up in text order, as YAML 1.2.2 section 7.1 has it. */
class NodeReader {
  readonly faults: Fault[] = [];
  /** The last one counts. */
  readonly repeated: Fault[] = [];
  readonly #anchors = new Map<string, Read>();
  readonly #refused = new Set<string>();
  #aliased = 0;

  read(node: Node | null, depth: number): Read {
    const offset = node?.range?.[0] ?? 0;
    if (depth > MAX_DEPTH) return this.#refuse(offset, TOO_DEEP);
    if (yaml().isAlias(node)) return this.#alias(node, offset, depth);
    const read = yaml().isMap(node)
      ? this.#map(node, offset, depth)
      : yaml().isSeq(node)
        ? this.#list(node.items as (Node | null)[], offset, depth)
        : { value: yaml().isScalar(node) ? node.value : null, spot: { value: offset }, nodes: 1, height: 0 };
    // Set only now, so that a node that contains an alias to itself is an unknown alias, not a circle.
    if (node?.anchor !== undefined) this.#anchors.set(node.anchor, read);
    return read;
  }

  #alias(node: Alias, offset: number, depth: number): Read {
    const read = this.#anchors.get(node.source);
    if (read === undefined)
      return this.#refuse(offset, `there is no anchor "&${node.source}" before this alias`);
    if (depth + read.height > MAX_DEPTH) return this.#refuse(offset, TOO_DEEP);
    this.#aliased += read.nodes;
    if (this.#aliased <= MAX_ALIASED_NODES) return { ...read, spot: { ...read.spot, value: offset } };
    return this.#refuse(offset, `aliases stand for more than ${MAX_ALIASED_NODES} values`);
  }

  #list(items: readonly (Node | null)[], offset: number, depth: number): Read {
    const reads = items.map(item => this.read(item, depth + 1));
    const children = new Map(reads.map((read, i) => [i, read.spot]));
    return { value: reads.map(read => read.value), spot: { value: offset, children }, ...extent(reads) };
  }

  #map(node: YAMLMap, offset: number, depth: number): Read {
    const value: Record<string, unknown> = {};
    const children = new Map<string, Spot>();
    const reads: Read[] = [];
    const merges: Read[] = [];
    for (const pair of node.items) {
      const keyNode = pair.key as Node | null;
      const keyOffset = keyNode?.range?.[0] ?? offset;
      const key = keyText(keyNode);
      const read = this.read(pair.value as Node | null, depth + 1);
      reads.push(read);
      if (key === undefined) this.#fault(keyOffset, 'a key must be plain text');
      else if (key === '<<') merges.push(read);
      else if (key === '__proto__') this.#fault(keyOffset, 'the key "__proto__" is not allowed');
      else {
        if (children.has(key)) this.repeated.push({ offset: keyOffset, message: `duplicate key "${key}"` });
        value[key] = read.value;
        children.set(key, { ...read.spot, key: keyOffset });
      }
    }
    for (const merge of merges) this.#merge(merge, value, children);
    return { value, spot: { value: offset, children }, ...extent(reads) };
  }

  /** The merge key `<<` (yaml.org/type/merge.html): what the map says itself wins, then the earlier source. */
  #merge(from: Read, value: Record<string, unknown>, children: Map<string, Spot>): void {
    const sources = Array.isArray(from.value)
      ? from.value.map((item, i) => ({ value: item as unknown, spot: from.spot.children!.get(i)! }))
      : [from];
    for (const source of sources) {
      if (typeof source.value !== 'object' || source.value === null || Array.isArray(source.value)) {
        this.#fault(from.spot.value, '"<<" needs a mapping or a list of mappings');
        return;
      }
      for (const [key, item] of Object.entries(source.value)) {
        if (children.has(key)) continue;
        value[key] = item;
        children.set(key, source.spot.children!.get(key)!);
      }
    }
  }

  #fault(offset: number, message: string): void {
    this.faults.push({ offset, message });
  }

  #refuse(offset: number, message: string): Read {
    // One sentence is enough for a text that trips the same cap a thousand times.
    if (!this.#refused.has(message)) this.#fault(offset, message);
    this.#refused.add(message);
    return { value: null, spot: { value: offset }, nodes: 1, height: 0 };
  }
}

function extent(reads: readonly Read[]): { nodes: number; height: number } {
  let nodes = 1;
  let height = 0;
  for (const read of reads) {
    nodes += read.nodes;
    height = Math.max(height, read.height + 1);
  }
  return { nodes, height };
}

/** Numbers and booleans as keys are taken as they are written: the key `8080` is the text "8080". */
function keyText(node: Node | null): string | undefined {
  if (!yaml().isScalar(node) || node.value === null) return undefined;
  return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
}

const isEmpty = (node: Node): boolean => yaml().isScalar(node) && node.value === null;

function offsetOf(root: Spot, path: Path, part: 'key' | 'value' = 'value'): number {
  let spot = root;
  for (const step of path) {
    const next = spot.children?.get(step);
    if (next === undefined) break;
    spot = next;
  }
  return part === 'key' ? (spot.key ?? spot.value) : spot.value;
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
