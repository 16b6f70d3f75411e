/** The library's lexer, as forgiving as the parsers of clusters are. */
import type { Lexer } from 'yaml';
import { yaml } from '../yaml-package.ts';

/**
 * A quoted text may go on, and end, in lines that are indented no more than its key: YAML demands more (1.2.2 section
 * 7.3), libyaml and what was made of it (go-yaml, and so kubectl) do not, and people paste JSON into annotations.
 */
export function forgivingLexer(): Lexer {
  const lexer = new (yaml().Lexer)();
  const inner = lexer as unknown as LexerInside;
  const strict = inner.parseQuotedScalar;
  inner.parseQuotedScalar = function* () {
    const { indentNext } = inner;
    inner.indentNext = 0;
    const next = yield* strict.call(lexer);
    inner.indentNext = indentNext;
    return next;
  };
  return lexer;
}

// --- internal -----------------------------------------------------------------------------------

/** Of yaml 2.9; a test tells when it is another. */
type LexerInside = {
  /** Least indentation of the lines by which a scalar goes on. */
  indentNext: number;
  parseQuotedScalar(): Generator<string, unknown>;
};
