/** Logs as JSON lines in a file; what might be a secret is struck out. */
import pino from 'pino';
import type { Log } from './lib/log.ts';
import { logSink } from './lib/log-sink.ts';

/** It is written before the process ends, and never stops it. */
export function openLog(file: string, level: string): Log {
  const note = (dropped: number) =>
    `${JSON.stringify({ level: pino.levels.values.warn, time: new Date().toISOString(), dropped, msg: 'log lines were dropped' })}\n`;
  const destination = logSink(file, { maxBytes: maxLogBytes, note });
  process.once('exit', destination.flush);
  const redact = ['password', '*.password', 'apiKey', '*.apiKey', 'connectionString', '*.connectionString'];
  return pino(
    { level, base: null, redact, timestamp: pino.stdTimeFunctions.isoTime },
    destination,
  ) as unknown as Log;
}

// --- internal -----------------------------------------------------------------------------------

const maxLogBytes = 10 * 1024 * 1024;
