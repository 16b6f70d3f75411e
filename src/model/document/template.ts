/**
 * Templates: `@{variable}` and `@{embed: file}` in a document, with the meaning that Signadot's CLI gives
 * them. The text is parsed as YAML first; directives are replaced in string values only, never in keys,
 * and what is put in is not expanded again.
 */
import { join } from 'node:path';
import { similarName } from '../names.ts';
import type { Finding, Path } from './problem.ts';
import { MAX_BYTES, parseYaml } from './yaml.ts';

export type TemplateOptions = {
  /** Definitions `variable=value`, in the order given. */
  readonly set?: readonly string[];
  /** The folder of the template, to which the paths of embedded files are joined. */
  readonly dir?: string;
  /**
   * Reads a file for `@{embed: …}` and throws when it cannot. It must bound what it reads from files that
   * never end. Bytes are needed for `@{embed[binary]: …}` of anything but text.
   */
  readonly readFile?: (path: string) => Uint8Array | string;
};

/** Bytes that all directives of one document may put in. */
const MAX_INSERTED = 4 * MAX_BYTES;

/** Expands all directives in `value`. What cannot be expanded stays as it is and is reported, all at once. */
export function expandTemplate(
  value: unknown,
  options: TemplateOptions,
): { readonly value: unknown; readonly findings: readonly Finding[] } {
  const expansion = new Expansion(options);
  const expanded = expansion.node(value, []);
  return { value: expanded, findings: expansion.findings };
}

// --- internal -----------------------------------------------------------------------------------

const VARIABLE = /^[a-zA-Z][a-zA-Z0-9_.-]*$/;
const ENCODINGS: readonly string[] = ['raw', 'yaml', 'binary'];

type Directive = {
  /** The variable, or `embed`. */
  readonly name: string;
  readonly encoding: string;
  /** The file of an embed. */
  readonly argument: string | undefined;
};

/** Why one directive cannot be expanded. */
class DirectiveError extends Error {
  readonly suggestion: string | undefined;

  constructor(message: string, suggestion?: string) {
    super(message);
    this.suggestion = suggestion;
  }
}

class Expansion {
  readonly findings: Finding[] = [];
  readonly #dir: string;
  readonly #readFile: TemplateOptions['readFile'];
  readonly #variables = new Map<string, string>();
  readonly #files = new Map<string, Uint8Array>();
  #inserted = 0;

  constructor({ set = [], dir = '.', readFile }: TemplateOptions) {
    this.#dir = dir;
    this.#readFile = readFile;
    for (const definition of set) this.#define(definition);
  }

  node(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return this.#text(value, path);
    if (Array.isArray(value)) return value.map((item, i) => this.node(item, [...path, i]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [key, this.node(item, [...path, key])]),
    );
  }

  /** Values may be secrets, so no sentence repeats one. */
  #define(definition: string): void {
    const cut = definition.indexOf('=');
    const name = cut < 0 ? definition : definition.slice(0, cut);
    const value = definition.slice(cut + 1);
    const known = this.#variables.get(name);
    if (cut < 0) this.#report([], `variable "${name}" is set without a value: write ${name}=VALUE`);
    else if (!VARIABLE.test(name)) this.#report([], `invalid variable name: "${name}"`);
    else if (known !== undefined && known !== value)
      this.#report([], `conflicting variable defs: "${name}" is set to different values`);
    else this.#variables.set(name, value);
  }

  #text(text: string, path: Path): unknown {
    const parts: string[] = [];
    let done = 0;
    for (const { start, end } of directives(text)) {
      try {
        const directive = parseDirective(text.slice(start + 2, end - 1));
        const inserted = this.#insert(directive, end - start === text.length);
        if (typeof inserted !== 'string') return inserted;
        parts.push(text.slice(done, start), inserted);
        done = end;
      } catch (error) {
        if (!(error instanceof DirectiveError)) throw error;
        this.#report(path, error.message, error.suggestion);
      }
    }
    return parts.join('') + text.slice(done);
  }

  #insert({ name, encoding, argument }: Directive, whole: boolean): unknown {
    if (encoding !== 'raw' && !whole)
      throw new DirectiveError(
        `invalid encoding: ${name} ${encoding} does not work as part of a larger string`,
      );
    const content = argument === undefined ? this.#variable(name) : this.#embed(argument);
    const what = argument === undefined ? `variable "${name}"` : `file "${argument}"`;
    if (encoding === 'binary') return Buffer.from(content).toString('base64');
    const text = decodeText(content, what);
    if (encoding === 'raw') return text;
    const { documents, errors } = parseYaml(text);
    if (errors[0] !== undefined) {
      // The sentence may quote the text, and the value of a variable may be a secret.
      const why = argument === undefined ? '' : `: ${errors[0].message}`;
      throw new DirectiveError(`${what} is not valid YAML${why}`);
    }
    if (documents.length > 1) throw new DirectiveError(`${what} holds more than one YAML document`);
    return documents[0]?.value ?? null;
  }

  #variable(name: string): Uint8Array {
    if (!VARIABLE.test(name)) throw new DirectiveError(`invalid variable name: "${name}"`);
    const value = this.#variables.get(name);
    if (value === undefined)
      throw new DirectiveError(`unexpanded variable: ${name}`, similarName(name, this.#variables.keys()));
    return this.#count(Buffer.from(value));
  }

  #embed(argument: string): Uint8Array {
    if (this.#readFile === undefined) throw new DirectiveError('files cannot be embedded here');
    // Joined even when absolute: that is what the templates of others rely on.
    const path = join(this.#dir, argument);
    let content = this.#files.get(path);
    if (content === undefined) {
      try {
        content = Buffer.from(this.#readFile(path));
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new DirectiveError(`cannot read "${path}": ${why}`);
      }
      if (content.length > MAX_BYTES)
        throw new DirectiveError(`"${path}" is larger than ${MAX_BYTES / 1024} KiB`);
      this.#files.set(path, content);
    }
    return this.#count(content);
  }

  #count(content: Uint8Array): Uint8Array {
    this.#inserted += content.length;
    if (this.#inserted <= MAX_INSERTED) return content;
    throw new DirectiveError(`the directives put in more than ${MAX_INSERTED / 1024} KiB`);
  }

  #report(path: Path, message: string, suggestion?: string): void {
    this.findings.push({ path, message, suggestion });
  }
}

/** Where `@{…}` with something in it stands. (As a regular expression it takes quadratic time on `@{@{@{`.) */
function* directives(text: string): Generator<{ readonly start: number; readonly end: number }> {
  let start = text.indexOf('@{');
  while (start >= 0) {
    const close = text.indexOf('}', start + 2);
    if (close < 0) return;
    if (close > start + 2) yield { start, end: close + 1 };
    start = text.indexOf('@{', close + 1);
  }
}

/** `name`, `name[encoding]`, `embed: file` or `embed[encoding]: file`, without `@{` and `}`. */
function parseDirective(content: string): Directive {
  const colon = content.indexOf(':');
  const head = (colon < 0 ? content : content.slice(0, colon)).trim();
  const argument = colon < 0 ? undefined : content.slice(colon + 1).trim();
  const bracket = head.endsWith(']') ? head.indexOf('[') : -1;
  const name = bracket < 0 ? head : head.slice(0, bracket).trim();
  const encoding = bracket < 0 ? 'raw' : head.slice(bracket + 1, -1).trim();
  if (argument !== undefined && name !== 'embed')
    throw new DirectiveError(`unsupported operation: "${name}"`, similarName(name, ['embed']));
  if (!ENCODINGS.includes(encoding))
    throw new DirectiveError(`invalid encoding: "${encoding}"`, similarName(encoding, ENCODINGS));
  return { name, encoding, argument };
}

function decodeText(content: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new DirectiveError(`${what} is not UTF-8 text; the encoding [binary] takes any bytes`);
  }
}
