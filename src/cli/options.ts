/** What many commands have in common: examples in their help, and options that are numbers. */
import { Argument, type Command, Option } from 'commander';
import { parseBytes } from '../model/bytes.ts';
import { UsageError } from './output.ts';

/** Adds command lines to the end of a command's `--help`. */
export const withExamples = (command: Command, ...lines: readonly string[]): Command =>
  command.addHelpText('after', ['', 'Examples:', ...lines.map(line => `  $ ${line}`)].join('\n'));

/** The option `--wait-timeout`, in milliseconds. @param otherwise a duration */
export const timeoutOption = (otherwise: string): Option =>
  new Option('--wait-timeout <duration>', 'give up waiting after')
    .argParser(parseDuration)
    .default(parseDuration(otherwise), otherwise);

/** `90s`, `3m`, `1h30m`, `500ms` → milliseconds. */
export function parseDuration(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map(p => p[0]).join('') !== text)
    throw new UsageError(`"${text}" is not a duration; write for example 90s, 3m or 1h30m`);
  const ms = parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0);
  if (ms > longestTimer) throw new UsageError(`"${text}" is too long; the longest is 596h`);
  return ms;
}

/** A duration, or `never`. @returns seconds; 0: never */
export const parseSleepAfter = (text: string): number => (text === 'never' ? 0 : parseDuration(text) / 1000);

/** A duration before now, or a time of RFC 3339. @returns RFC 3339 */
export function parseSince(text: string): string {
  if (/^\d{4}-/.test(text)) {
    const ms = /^\S+T\S+(Z|[+-]\d\d:\d\d)$/i.test(text) ? Date.parse(text) : Number.NaN;
    if (Number.isNaN(ms))
      throw new UsageError(`"${text}" is no time; write for example 2030-01-31T12:00:00Z`);
    return new Date(ms).toISOString();
  }
  const days = /^\d+d$/.test(text) ? `${24 * Number(text.slice(0, -1))}h` : text;
  return new Date(Date.now() - parseDuration(days)).toISOString();
}

/** An option whose value is a size, in bytes. */
export const sizeOption = (flags: string, description: string): Option =>
  new Option(flags, description).argParser(parseSize);

/** An argument that is one. */
export const sizeArgument = (name: string): Argument => new Argument(name).argParser(parseSize);

function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new UsageError(`"${text}" is not a size; write for example 512M or 2G`);
  return bytes;
}

/** Reads `HOST:PORT` of an option. */
export const addressOption =
  (option: string) =>
  (text: string): { readonly host: string; readonly port: number } => {
    const [, host, port] = /^([A-Za-z0-9.-]+):(\d{1,5})$/.exec(text) ?? [];
    if (host === undefined || Number(port) > 65_535)
      throw new UsageError(`${option} must be HOST:PORT, not ${text}`);
    return { host, port: Number(port) };
  };

/** Both numbers of `LISTEN:PROGRAM`. */
export type PortPair = { readonly listen: number; readonly program: number };

/** Reads `LISTEN:PROGRAM` of an option that may be given several times. */
export const portPairs =
  (option: string) =>
  (text: string, before: readonly PortPair[] = []): readonly PortPair[] => {
    const [listen, program] = (/^(\d{1,5}):(\d{1,5})$/.exec(text) ?? []).slice(1).map(Number);
    if (listen === undefined || program === undefined || Math.max(listen, program) > 65_535 || program === 0)
      throw new UsageError(`${option} must be two numbers, e.g. 15001:8080, not ${text}`);
    return [...before, { listen, program }];
  };

/** Options by which a role of its own proves who it is. @param file how `--identity` is described */
export const identityOptions = (command: Command, file: string): Command =>
  command
    .option('--identity <file>', file)
    .option(
      '--token <file>',
      'in a cluster: token of the pod, for the audience "offshoot", to ask for an identity by',
    )
    .option(
      '--ca <file>',
      'certificate of the authority that the controller is known by (or the text itself in OFFSHOOT_CA)',
    );

/** What those say. @throws UsageError */
export function identityFrom(
  { identity, token, ca }: { readonly identity?: string; readonly token?: string; readonly ca?: string },
  env: Readonly<Record<string, string | undefined>>,
): { readonly file: string } | { readonly token: string; readonly authorities: string } {
  if (identity !== undefined && token === undefined) return { file: identity };
  if (token === undefined || identity !== undefined)
    throw new UsageError('say who this is by either --identity or --token');
  const authorities = ca ?? env.OFFSHOOT_CA;
  if (!authorities) throw new UsageError('--token needs --ca, or OFFSHOOT_CA');
  return { token, authorities };
}

/** 0 to 65535. */
export function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new UsageError(`"${text}" is not the number of a port`);
}

/** A whole number from 1. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`"${text}" is not a whole number from 1`);
  return Number(text);
}

/** A whole number from 0. */
export function parseCountOrNone(text: string): number {
  return text === '0' ? 0 : parseCount(text);
}

// --- internal -----------------------------------------------------------------------------------

/** Milliseconds; a timer that is to run longer fires at once. */
const longestTimer = 2 ** 31 - 1;
