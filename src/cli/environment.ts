/** An environment as text that other programs read. Each form gives back every value exactly. */

import { UsageError } from './output.ts';

export type EnvironmentForm = 'shell' | 'dotenv';

/** Of an option. @throws UsageError */
export function parseForm(text: string): EnvironmentForm {
  if (text === 'shell' || text === 'dotenv') return text;
  throw new UsageError(`--format takes shell or dotenv, not "${text}"`);
}

export const environmentAs = (form: EnvironmentForm, environment: Readonly<Record<string, string>>): string =>
  Object.entries(environment)
    .map(([name, value]) => `${forms[form](name, value)}\n`)
    .join('');

// --- internal -----------------------------------------------------------------------------------

const forms: Readonly<Record<EnvironmentForm, (name: string, value: string) => string>> = {
  /** POSIX.1-2024, XCU 2.2.2: nothing has a meaning between single quotes. */
  shell: (name, value) => `export ${name}='${value.replaceAll("'", "'\\''")}'`,
  /**
   * There is no standard; node, dotenv, Docker Compose, python-dotenv and direnv agree on this: plain, or between single
   * quotes as it is, or between double quotes with `\n` in place of a line's end.
   */
  dotenv(name, value) {
    if (/^[A-Za-z0-9_.,:/@%+=?&~-]*$/.test(value)) return `${name}=${value}`;
    if (!value.includes("'")) return `${name}='${value}'`;
    const escaped = value.replace(/[\\"$`]/g, '\\$&').replaceAll('\n', '\\n');
    return `${name}="${escaped}"`;
  },
};
