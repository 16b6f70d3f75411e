/** Programs and sentences. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A problem that is told in one sentence, without a stack: what, where, and what to do. */
export class SetupError extends Error {}

export function say(sentence) {
  process.stderr.write(`offshoot: ${sentence}\n`);
}

/**
 * Runs a program to its end and keeps the end of its output.
 * @returns {Promise<{ok: boolean, output: string}>}; never rejects but when we are told to stop.
 */
export async function run(file, args, { cwd, env, deadlineMs }) {
  let output = '';
  let stopped;
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const stopPassing = passSignals(child, signal => {
    stopped = signal;
  });
  for (const stream of [child.stdout, child.stderr])
    stream
      .setEncoding('utf8')
      .on('error', () => {})
      .on('data', text => {
        output = (output + text).slice(-20_000);
      });
  const timer = setTimeout(() => child.kill(), deadlineMs);
  const { code, signal, error } = await ended(child);
  clearTimeout(timer);
  stopPassing();
  if (stopped !== undefined) throw new SetupError(`stopped by ${stopped}; the next start goes on from here`);
  const how = error?.message ?? (signal === null ? `exit code ${code}` : `ended by ${signal}`);
  return { ok: code === 0, output: output === '' ? `${how}\n` : output };
}

/** @returns {Promise<{code: number | null, signal: string | null, error?: Error}>} once a child is gone */
export function ended(child) {
  return new Promise(done => {
    child.on('error', error => done({ code: 1, signal: null, error }));
    child.on('close', (code, signal) => done({ code, signal }));
  });
}

/** Sends our signals on to `child`. @returns the way to stop that. */
export function passSignals(child, onSignal = () => {}) {
  const pass = signal => {
    onSignal(signal);
    // A terminal signals its whole foreground group; sent on, the child would get those twice.
    if (signal === 'SIGTERM' || !process.stdin.isTTY) child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
  for (const signal of signals) process.on(signal, pass);
  return () => {
    for (const signal of signals) process.off(signal, pass);
  };
}

/** Path of a program; administrators' folders are searched too, an ordinary PATH may lack them. */
export function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.map(folder => join(folder, name)).find(path => existsSync(path));
}

export const lastLine = text => text.trim().split('\n').at(-1);
