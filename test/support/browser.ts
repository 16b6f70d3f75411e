/** Chromium of this machine without a window, led by the Chrome DevTools Protocol over pipes (`--remote-debugging-pipe`). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { findProgram } from '../../src/lib/find-program.ts';
import { until } from '../../src/lib/wait.ts';
import { tempDir } from './temp.ts';

export type Cookie = {
  readonly name: string;
  readonly value: string;
  readonly domain: string;
  readonly httpOnly: boolean;
  readonly sameSite?: string;
};

export type Page = {
  /** Goes there and waits until something is shown. */
  open(url: string): Promise<void>;
  /** What the expression, or the promise that it is, has as its value. @throws Error with what it throws */
  ask<T>(expression: string): Promise<T>;
  /** Waits until the expression is true, across loads of the page. */
  shows(expression: string): Promise<void>;
  cookies(): Promise<readonly Cookie[]>;
};

export type Browser = AsyncDisposable & {
  /** A page of a person of its own: nobody else's cookies. */
  person(): Promise<Page>;
};

/** @returns undefined when there is no Chromium on the PATH */
export async function tryBrowser(): Promise<Browser | undefined> {
  const program = await findProgram('chromium', process.env.PATH ?? '', '/');
  if (program === undefined) return undefined;
  await using stack = new AsyncDisposableStack();
  const profile = stack.use(await tempDir());
  const child = spawn(
    program,
    [
      ...['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage'],
      ...['--disable-background-networking', '--remote-debugging-pipe', `--user-data-dir=${profile.path}`],
    ],
    // A home of its own: it writes below the one that it finds.
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'], env: { ...process.env, HOME: profile.path } },
  );
  const ended = once(child, 'exit');
  stack.defer(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const call = protocol(child.stdio[3] as Writable, child.stdio[4] as Readable);
  await call('Browser.getVersion');
  const all = stack.move();
  return {
    [Symbol.asyncDispose]: () => all.disposeAsync(),
    async person() {
      const { browserContextId } = await call('Target.createBrowserContext');
      const { targetId } = await call('Target.createTarget', { url: 'about:blank', browserContextId });
      const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
      return pageOf((method, params) => call(method, params, sessionId as string));
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Answer = Readonly<Record<string, unknown>>;
type Call = (method: string, params?: object, sessionId?: string) => Promise<Answer>;

const deadlineMs = 60_000;

/** Messages end with a zero byte. */
function protocol(to: Writable, from: Readable): Call {
  const waiting = new Map<number, PromiseWithResolvers<Answer>>();
  let last = 0;
  let held = '';
  const fail = (error: Error): void => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  to.on('error', fail);
  from.on('error', fail).on('close', () => fail(new Error('the browser has ended')));
  from.setEncoding('utf8').on('data', (chunk: string) => {
    const messages = (held + chunk).split('\0');
    held = messages.pop()!;
    for (const message of messages) {
      const { id, result, error } = JSON.parse(message) as {
        readonly id?: number;
        readonly result?: Answer;
        readonly error?: { readonly message: string };
      };
      const asked = id === undefined ? undefined : waiting.get(id);
      if (asked === undefined) continue;
      waiting.delete(id!);
      if (error === undefined) asked.resolve(result ?? {});
      else asked.reject(new Error(error.message));
    }
  });
  return (method, params = {}, sessionId) => {
    const asked = Promise.withResolvers<Answer>();
    const id = ++last;
    waiting.set(id, asked);
    to.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
    const late = setTimeout(() => asked.reject(new Error(`${method}: no answer`)), deadlineMs);
    return asked.promise.finally(() => clearTimeout(late));
  };
}

function pageOf(call: Call): Page {
  const ask = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = (await call('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true },
    })) as {
      readonly result: { readonly value: T };
      readonly exceptionDetails?: { readonly exception?: { readonly description?: string } };
    };
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? expression);
    return result.value;
  };
  const page: Page = {
    ask,
    async open(url) {
      const { errorText } = await call('Page.navigate', { url });
      if (errorText !== undefined) throw new Error(`${url}: ${errorText as string}`);
      await page.shows(`document.readyState === 'complete' && location.href !== 'about:blank'`);
    },
    async shows(expression) {
      let last: unknown;
      const true_ = async () => {
        // Between two pages there is none that could be asked.
        last = await ask(expression).catch((error: unknown) => error);
        return last === true ? true : undefined;
      };
      await until(true_, { what: expression, deadlineMs, intervalMs: 20 }).catch(async cause => {
        const seen = await ask('location.href + " " + document.body?.innerText').catch(String);
        throw new Error(`${expression}: ${String(last)}; it shows ${seen}`, { cause });
      });
    },
    async cookies() {
      const { cookies } = await call('Network.getCookies');
      return cookies as readonly Cookie[];
    },
  };
  return page;
}
