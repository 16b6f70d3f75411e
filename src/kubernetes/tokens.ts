/** Tokens that do not last: where the next one comes from. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { exec } from '../lib/exec.ts';
import { OffshootError } from '../model/errors.ts';

export type Tokens = {
  /** @throws OffshootError kubernetes/config */
  get(): Promise<string>;
  /** The cluster did not take the one that was got last: the next `get` asks again. */
  refused(): void;
};

/** A program that knows a token, see client.authentication.k8s.io/v1. */
export type ExecLogin = {
  readonly apiVersion?: string;
  readonly command: string;
  readonly args?: readonly string[] | null;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null;
};

/** The kubelet writes the next one long before the last one ends; kubectl looks every minute, too. */
const rereadMs = 60_000;
/** A program's token is asked for anew when it has less left than this. */
const spareMs = 60_000;
/** A person may have to log in meanwhile. */
const loginMs = 120_000;

export const fileTokens = (file: string): Tokens =>
  remembered(async () => {
    try {
      return { token: (await readFile(file, 'utf8')).trim(), forMs: rereadMs };
    } catch (cause) {
      const why = `its token cannot be read (${(cause as NodeJS.ErrnoException).code})`;
      throw new OffshootError('kubernetes/config', { file, why }, { cause });
    }
  });

/** @param base what a relative path of the program is relative to: the kubeconfig's folder */
export const execTokens = (
  login: ExecLogin,
  base: string,
  env: Readonly<Record<string, string | undefined>>,
): Tokens =>
  remembered(async () => {
    const { command, args, apiVersion = 'client.authentication.k8s.io/v1' } = login;
    const wrong = (why: string, cause?: unknown) =>
      new OffshootError('kubernetes/config', { file: command, why }, { cause });
    const info = { apiVersion, kind: 'ExecCredential', spec: { interactive: false } };
    const own = Object.fromEntries((login.env ?? []).map(({ name, value }) => [name, value]));
    let answer: ExecCredential;
    try {
      const { stdout } = await exec(command.includes('/') ? resolve(base, command) : command, args ?? [], {
        env: { ...env, ...own, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
        deadlineMs: loginMs,
      });
      answer = JSON.parse(stdout) as ExecCredential;
    } catch (cause) {
      throw wrong('the login program failed', cause);
    }
    const { token, expirationTimestamp } = answer.status ?? {};
    if (typeof token !== 'string') throw wrong('the login program gave no token');
    const ends = Date.parse(expirationTimestamp ?? '');
    return { token, forMs: Number.isNaN(ends) ? Number.POSITIVE_INFINITY : ends - Date.now() - spareMs };
  });

// --- internal -----------------------------------------------------------------------------------

type ExecCredential = {
  readonly status?: { readonly token?: string; readonly expirationTimestamp?: string };
};

/** Many ask at once, one is asked. */
function remembered(ask: () => Promise<{ readonly token: string; readonly forMs: number }>): Tokens {
  let known: { token: string; until: number } | undefined;
  let asking: Promise<string> | undefined;
  return {
    get() {
      if (known !== undefined && performance.now() < known.until) return Promise.resolve(known.token);
      asking ??= ask()
        .then(({ token, forMs }) => {
          known = { token, until: performance.now() + forMs };
          return token;
        })
        .finally(() => {
          asking = undefined;
        });
      return asking;
    },
    refused() {
      known = undefined;
    },
  };
}
