/** The page that a person in a browser gets in place of a preview: it asks for an API key. */
import type { OwnAnswer } from './answer.ts';

/** Paths of a preview's host that are ours; everything below reaches no workload. */
export const OURS = '/.offshoot/';
export const KEY_PATH = `${OURS}key`;
export const LINK_PATH = `${OURS}open`;

/**
 * @param why what was wrong with the request, in words
 * @param to where to go on, see `safePath`
 */
export function keyPage(status: number, why: string, to: string): OwnAnswer {
  const body = `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>API key needed</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem}
input,button{font:inherit;width:100%;box-sizing:border-box;margin:.3rem 0;padding:.5rem}</style>
<h1>This preview needs an API key</h1>
<p>${escapeHtml(why)}</p>
<form method="post" action="${KEY_PATH}">
<input type="hidden" name="to" value="${escapeHtml(safePath(to))}">
<label>API key <input type="password" name="key" autocomplete="off" required autofocus></label>
<button>Open</button></form>
<p>"offshoot key create NAME" makes a key; "offshoot open" opens a preview without asking.</p>
`;
  return {
    status,
    headers: [
      ...['Content-Type', 'text/html; charset=utf-8', 'Cache-Control', 'no-store'],
      ...['Content-Security-Policy', POLICY, 'X-Content-Type-Options', 'nosniff'],
      // Not "no-referrer": with that, browsers send the form with "Origin: null" (Fetch §3.2.5).
      ...['Referrer-Policy', 'same-origin'],
    ],
    body,
  };
}

/** The path of this host that `text` is, or `/`: what begins with two slashes is a host of others for browsers, and so is `/\`. */
export const safePath = (text: string): string =>
  /^\/(?![/\\])[\x21-\x7e]{0,2000}$/.test(text) && !text.startsWith(OURS) ? text : '/';

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`);

// --- internal ---

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
