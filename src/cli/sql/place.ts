/** Where in a script an error of the server is, as psql says it: file, line, and the line itself with a mark below. */
import { OffshootError } from '../../model/errors.ts';
import { decoded, type Token } from '../../sql/scanner.ts';

export type Place = {
  readonly file: string;
  /** A person types: lines have no file. */
  readonly typed: boolean;
  readonly token: Token;
  /** Line of the file where the rows of a COPY begin. */
  readonly rowsBegin: number | undefined;
};

export function placed(error: unknown, { file, typed, token, rowsBegin }: Place): unknown {
  if (!(error instanceof OffshootError && error.code === 'sql/failed')) return error;
  const { position, ...params } = error.params;
  const text = token.kind === 'statement' ? decoded(token.text) : '';
  const shown = position === undefined ? undefined : pointed(text, Number(position));
  const row = /^CONTEXT: COPY .*?, line (\d+)/m.exec(error.output ?? '')?.[1];
  const line =
    rowsBegin !== undefined && row !== undefined
      ? rowsBegin + Number(row) - 1
      : token.line + (shown?.line ?? 1) - 1;
  const output = [...(shown === undefined ? [] : [shown.text]), ...(error.output ? [error.output] : [])].join(
    '\n',
  );
  return new OffshootError(
    'sql/failed',
    { ...params, ...(typed ? {} : { place: `${file}:${line}` }) },
    { cause: error, ...(output !== '' && { output }) },
  );
}

/** @param position in characters, from 1 @returns the line of it, from 1, and `LINE 2:   nix;` with a mark below */
export function pointed(text: string, position: number): { line: number; text: string } {
  const characters = [...text];
  const at = Math.min(position, characters.length + 1) - 1;
  const start = at === 0 ? 0 : characters.lastIndexOf('\n', at - 1) + 1;
  const end = characters.indexOf('\n', at);
  const line = characters.slice(0, at).filter(character => character === '\n').length + 1;
  const whole = characters.slice(start, end < 0 ? undefined : end);
  const column = at - start;
  const from = column > WIDTH - 10 ? column - WIDTH / 2 : 0;
  const part = whole.slice(from, from + WIDTH).map(character => (character === '\t' ? ' ' : character));
  const head = `LINE ${line}: ${from > 0 ? '...' : ''}`;
  const tail = from + WIDTH < whole.length ? '...' : '';
  return { line, text: `${head}${part.join('')}${tail}\n${' '.repeat(head.length + column - from)}^` };
}

// --- internal -----------------------------------------------------------------------------------

/** Characters of a line that are shown. */
const WIDTH = 60;
