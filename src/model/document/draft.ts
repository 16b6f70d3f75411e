/** The way that sandbox and plugin documents share: text, template, shape, rules; every problem at once. */
import type { z } from 'zod';
import { type Loose, pathKey, wellFormed } from './loose.ts';
import { documentError, type Finding, type Locate, toProblem } from './problem.ts';
import { checkShape, withoutNulls } from './shape.ts';
import { expandTemplate, type TemplateOptions } from './template.ts';
import { readDocument, type Source } from './yaml.ts';

/** A document before it is checked, with what is known to be wrong so far. */
export type Draft = {
  readonly file: string;
  readonly value: unknown;
  /** Absent when the value did not come from a text. */
  readonly locate?: Locate;
  /** Nodes at their paths are not judged again. */
  readonly findings: readonly Finding[];
};

export type DocumentKind<T> = {
  readonly schema: z.ZodType<T>;
  /** What a schema cannot say: uniqueness, references. */
  readonly rules: (document: Loose<T>) => readonly Finding[];
  /** Parts that are understood, but that nothing carries out yet. */
  readonly notSupported?: (document: Loose<T>) => readonly Finding[];
};

/**
 * Parses `source` and expands its template.
 * @throws OffshootError document/invalid when the text is not YAML
 */
export function readDraft(source: Source, options: TemplateOptions): Draft {
  const { value, locate } = readDocument(source);
  return { file: source.file, locate, ...expandTemplate(value, options) };
}

/**
 * The content of `draft`.
 * @throws OffshootError document/invalid with every problem; document/not-supported when the document is valid but for parts that are not supported
 */
export function checkDraft<T>(kind: DocumentKind<T>, draft: Draft): T {
  const value = withoutNulls(draft.value, USER_MAPS);
  const known = draft.findings.map(finding => finding.path).filter(path => path.length > 0);
  const { findings, data } = checkShape(kind.schema, value);
  const judged = new Set(known.map(pathKey));
  const shape = findings.filter(
    ({ path }) => !path.some((_, i) => judged.has(pathKey(path.slice(0, i + 1)))),
  );
  const rest = wellFormed<T>(value, [...known, ...shape.map(finding => finding.path)]);
  const wrong = [...draft.findings, ...shape, ...(rest === undefined ? [] : kind.rules(rest))];
  const later = rest === undefined ? [] : (kind.notSupported?.(rest) ?? []);
  if (data !== undefined && wrong.length + later.length === 0) return data;
  throw documentError(
    wrong.length > 0 ? 'document/invalid' : 'document/not-supported',
    draft.file,
    [...wrong, ...later].map(finding => toProblem(draft.file, finding, draft.locate)),
  );
}

/** Fields that hold maps with keys of the user's own. */
export const USER_MAPS: ReadonlySet<string> = new Set(['labels', 'params']);
