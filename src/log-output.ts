/** Logs as JSON lines in a file; what might be a secret is struck out. */
import type { Log, LogFields } from './lib/log.ts';
import { type LogSink, logSink } from './lib/log-sink.ts';

/**
 * It is written before the process ends, and never stops it.
 * @param file undefined: standard error, for whoever started us
 * @param level the least one that is written
 */
export function openLog(file: string | undefined, level: string): Log {
  const note = (dropped: number) => line('warn', { dropped }, 'log lines were dropped');
  const destination = file === undefined ? standardError() : logSink(file, { maxBytes: maxLogBytes, note });
  process.once('exit', destination.flush);
  const least = levels[level as Level] ?? levels.info;
  const open = (bound: LogFields): Log => {
    const at = (level: Level) => (fields: LogFields, message: string) => {
      if (levels[level] >= least) destination.write(line(level, { ...bound, ...fields }, message));
    };
    return {
      ...{ debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
      child: fields => open({ ...bound, ...fields }),
    };
  };
  return open({});
}

// --- internal -----------------------------------------------------------------------------------

function standardError(): Pick<LogSink, 'write' | 'flush'> {
  process.stderr.on('error', () => {}); // nobody reads it
  return { write: text => void process.stderr.write(text), flush() {} };
}

const maxLogBytes = 10 * 1024 * 1024;

/** As bunyan numbers them, and whoever reads such logs knows them. */
const levels = { debug: 20, info: 30, warn: 40, error: 50 } as const;
type Level = keyof typeof levels;

const secret = new Set(['password', 'apiKey', 'connectionString']);

function line(level: Level, fields: LogFields, msg: string): string {
  const head = { level: levels[level], time: new Date().toISOString() };
  try {
    return `${JSON.stringify({ ...head, ...fields, msg }, shown)}\n`;
  } catch (error) {
    // What refers to itself, for example: that is no reason to know nothing.
    return `${JSON.stringify({ ...head, unwritten: (error as Error).message, msg })}\n`;
  }
}

function shown(key: string, value: unknown): unknown {
  if (secret.has(key)) return '[hidden]';
  if (typeof value === 'bigint') return String(value);
  if (!(value instanceof Error)) return value;
  const { name: type, message, stack, cause } = value;
  return { type, message, stack, ...(value as object), ...(cause !== undefined && { cause }) };
}
