/** What we use of the package; yaml-package.ts loads it. Named one by one, because a bundle has only what is named. */
export {
  Composer,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  parse,
  stringify,
  YAMLParseError,
} from 'yaml';
