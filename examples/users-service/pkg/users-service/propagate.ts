/**
 * Carries the routing key from a request to the calls that it causes. A sandbox's key travels in the header
 * `baggage` (W3C Baggage) and also in `tracestate`; a service that drops them sends its callers' requests to
 * the baseline of the next service.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { NextFunction, Request, Response } from 'express';

const carriers = ['baggage', 'traceparent', 'tracestate'];

const context = new AsyncLocalStorage<ReadonlyMap<string, string>>();

/** Express middleware: keeps the carriers of a request at hand for as long as it is being handled. */
export function propagation(req: Request, _res: Response, next: NextFunction): void {
  const found = carriers.flatMap(name => {
    const value = req.get(name);
    return value === undefined ? [] : [[name, value] as const];
  });
  context.run(new Map(found), next);
}

/** `fetch` with the carriers of the request that is being handled. */
export function call(url: string | URL, init: RequestInit = {}): Promise<globalThis.Response> {
  const headers = new Headers(init.headers);
  for (const [name, value] of context.getStore() ?? []) headers.set(name, value);
  return fetch(url, { ...init, headers });
}
