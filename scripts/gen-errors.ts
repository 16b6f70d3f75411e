/** docs/errors.md, from the error table. */
import { type ErrorParams, type ErrorRow, errorTable } from '../src/model/errors.ts';

/** @returns the whole page, one heading per code, in the table's order */
export function errorsPage(): string {
  const sections = Object.entries(errorTable).map(([code, row]) => section(code, row));
  return `${[intro, ...sections].join('\n\n')}\n`;
}

// --- internal ------------------------------------------------------------------------------------

const intro = `# Errors

Every error that Offshoot tells somebody about, made from \`src/model/errors/\` by \`npm run check -- --write\`.
API bodies and \`-o json\` carry the code, the sentence as \`error\`, and the hint. Exit codes of the command line: 1
refused or failed, 2 bad usage or document, 3 not found, 4 not authorised, 5 timed out.`;

function section(code: string, row: ErrorRow): string {
  const facts = [
    `fault: ${row.fault}`,
    `HTTP ${row.http}`,
    `exit ${row.exit}`,
    ...(row.sqlstate === undefined ? [] : [`SQLSTATE ${row.sqlstate}`]),
    row.retry ? 'retried with back-off' : 'not retried',
  ];
  const lines = [`## ${code}`, '', `> ${literal(row.say(placeholders))}`];
  if (row.hint !== undefined) lines.push('', `What to do: ${literal(row.hint(placeholders))}.`);
  lines.push('', facts.join(' · '));
  return lines.join('\n');
}

/** Every parameter is there and is its own name, `<name>`; but a caller's `hint` would hide the row's own. */
const placeholders = new Proxy({} as ErrorParams, {
  get: (_, name) => (name === 'hint' ? undefined : `<${String(name)}>`),
});

/** Keeps Markdown from reading anything into a sentence. */
const literal = (text: string): string => text.replace(/[<>*\\`|]/g, '\\$&');
