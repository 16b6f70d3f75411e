/** What is wrong with a document, where, and the one error that carries all of it. */
import { OffshootError } from '../errors.ts';

/** Keys and list indices from the root of a document to a node. */
export type Path = readonly (string | number)[];

/** 1-based; columns count UTF-16 units. */
export type Position = { readonly line: number; readonly column: number };

/** Where a node stands in its file: its key or its value; for a missing node, its closest ancestor. */
export type Locate = (path: Path, part?: 'key' | 'value') => Position;

/** A problem before it is known in which file and line it is. */
export type Finding = {
  readonly path: Path;
  readonly message: string;
  readonly suggestion?: string | undefined;
  /** Which part of the node to point at, default the value. */
  readonly at?: 'key' | 'value';
};

/** A problem as clients get it. */
export type Problem = {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  /** e.g. `spec.forks[0].forkOf.kind`; empty for the document as a whole. */
  readonly path: string;
  readonly message: string;
  readonly suggestion?: string;
};

/** `file:line:column: path: message (did you mean "x"?)`, without the parts that are unknown. */
export function formatProblem(p: Problem): string {
  const place = p.line === undefined ? p.file : `${p.file}:${p.line}:${p.column}`;
  const path = p.path === '' ? '' : `${p.path}: `;
  const suggestion = p.suggestion === undefined ? '' : ` (did you mean "${p.suggestion}"?)`;
  return `${place}: ${path}${p.message}${suggestion}`;
}

/** `spec.labels["a/b"]`, `spec.forks[0]`. */
export function formatPath(path: Path): string {
  return path
    .map((step, i) => {
      if (typeof step === 'number') return `[${step}]`;
      if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`;
      return i === 0 ? step : `.${step}`;
    })
    .join('');
}

/** Characters of a message: most repeat a name from the document, which may be as long as the document. */
const MAX_MESSAGE = 500;

/** Places `finding` in its file. Values that come without a text, such as request bodies, have no `locate`. */
export function toProblem(
  file: string,
  { path, message, suggestion, at }: Finding,
  locate?: Locate,
): Problem {
  return {
    file,
    ...locate?.(path, at),
    path: formatPath(path),
    message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message,
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}

/** Problems that an error carries at most; its `count` is of all. */
const MAX_PROBLEMS = 100;

/**
 * The error for all problems, in the order of the text.
 * @param file what the sentence is about: usually the file of all problems
 */
export function documentError(
  code: 'document/invalid' | 'document/not-supported',
  file: string,
  problems: readonly Problem[],
  { hint }: { readonly hint?: string } = {},
): OffshootError {
  const sorted = problems.toSorted(
    (a, b) =>
      Number(a.file > b.file) - Number(a.file < b.file) ||
      (a.line ?? 0) - (b.line ?? 0) ||
      (a.column ?? 0) - (b.column ?? 0),
  );
  return new OffshootError(
    code,
    { file, count: problems.length, ...(code === 'document/invalid' && { hint }) },
    { problems: sorted.slice(0, MAX_PROBLEMS) },
  );
}
