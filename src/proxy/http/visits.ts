/**
 * How people come into a preview with a browser, which sends no headers of ours: by a page that asks for an API key, or by
 * a link that works once ("offshoot open"). Either becomes a cookie with a token of its own, for that one preview; the
 * control plane keeps its hash with the sandbox, and the route book tells it to every gateway. It opens as long as the
 * key is there that it was given for.
 */
import type { Readable } from 'node:stream';
import { randomSecret } from '../../lib/random.ts';
import { OffshootError } from '../../model/errors.ts';
import type { Entry } from '../../model/visit.ts';
import type { Book } from '../book.ts';
import type { OwnAnswer } from './answer.ts';
import { askedBy } from './cross-origin.ts';
import type { Exchange, Pass } from './data-path.ts';
import { valuesOf } from './headers.ts';
import { KEY_PATH, keyPage, LINK_PATH, OURS, safePath } from './key-page.ts';
import { previewLabelOf } from './preview-host.ts';
import { hashOf } from './preview-key.ts';
import { countTries } from './tries.ts';
import { setVisit, visitTokens } from './visit-cookie.ts';

/**
 * Lets the control plane note a visit; resolved when every gateway knows it.
 * @throws OffshootError preview/link-used, preview/no-entry, preview/unknown
 */
export type Enter = (entry: Entry, signal: AbortSignal) => Promise<void>;

/** Answers what is below `/.offshoot/` of a preview's host. */
export function welcomeVisitors(o: {
  readonly book: Book;
  readonly enter: Enter;
  readonly domain: () => string;
  readonly now?: () => number;
}): Pass {
  const { book, domain } = o;
  const tries = countTries(EACH, ALL, o.now ?? Date.now);

  const checkTries = (who: string): void => {
    const ms = tries.wait(who);
    if (ms > 0) throw new OffshootError('preview/too-many-tries', { seconds: Math.ceil(ms / 1_000) });
  };

  const admit = async ({ host, client }: Exchange, by: Entry['by'], to: string): Promise<OwnAnswer> => {
    const token = randomSecret(TOKEN_LENGTH);
    const entry = { preview: previewLabelOf(host, domain())!, token: hashOf(token), by };
    await o.enter(entry, AbortSignal.timeout(ENTER_MS));
    return goOn(to, setVisit(token, client.secure));
  };

  const takeKey = async (exchange: Exchange, body: Readable): Promise<OwnAnswer> => {
    const { received } = exchange;
    // Nobody else's page may bring a person into a preview, be it with a key of its own.
    const [origin] = valuesOf(received, 'origin');
    const [site] = valuesOf(received, 'sec-fetch-site');
    const isOwn = askedBy(exchange, domain()) === 'own' && (origin !== undefined || site === 'same-origin');
    if (!isOwn) throw new OffshootError('preview/foreign-form', {});
    const who = exchange.client.address ?? '';
    checkTries(who);
    const form = new URLSearchParams(await textOf(body));
    const to = safePath(form.get('to') ?? '/');
    const key = hashOf((form.get('key') ?? '').trim());
    if (book.get('key', key) === undefined) {
      tries.failed(who);
      return keyPage(401, 'The key that was sent is not valid.', to);
    }
    return admit(exchange, { key }, to);
  };

  const takeLink = async (exchange: Exchange): Promise<OwnAnswer> => {
    const query = new URLSearchParams(exchange.path.slice(exchange.path.indexOf('?') + 1));
    const to = safePath(query.get('to') ?? '/');
    // Loaded again, or opened twice by an eager program: who is in is in.
    if (keyOfVisit(book, exchange, domain()) !== undefined) return goOn(to);
    const who = exchange.client.address ?? '';
    checkTries(who);
    try {
      return await admit(exchange, { link: hashOf(query.get('token') ?? '') }, to);
    } catch (error) {
      if (!(error instanceof OffshootError && error.code === 'preview/link-used')) throw error;
      tries.failed(who);
      return keyPage(401, 'This link was used already, or is too old.', to);
    }
  };

  return exchange => {
    const { path, method } = exchange;
    if (!path.startsWith(OURS)) return;
    const [name] = path.split('?', 1);
    if (name === KEY_PATH && method === 'POST') exchange.answer = body => takeKey(exchange, body);
    else if (name === LINK_PATH && method === 'GET') exchange.answer = () => takeLink(exchange);
    else exchange.answer = () => Promise.resolve(notHere);
  };
}

/** The hash of the key that a request's cookie was given for; undefined when it opens nothing here. */
export function keyOfVisit(
  book: Book,
  { received, host, client }: Exchange,
  domain: string,
): string | undefined {
  const preview = previewLabelOf(host, domain);
  for (const token of visitTokens(received, client.secure)) {
    const visit = book.get('visit', hashOf(token));
    if (visit === undefined || visit.preview !== preview) continue;
    if (visit.until !== undefined && Date.now() > visit.until) continue;
    if (book.get('key', visit.key) !== undefined) return visit.key;
  }
  return undefined;
}

// --- internal ---

/** Wrong keys and links in a minute. */
const EACH = 10;
const ALL = 300;
/** About 256 bits. */
const TOKEN_LENGTH = 43;
const ENTER_MS = 10_000;
const BODY_MS = 10_000;
const BODY_BYTES = 4_096;

const notHere: OwnAnswer = {
  status: 404,
  headers: ['Content-Type', 'text/plain; charset=utf-8'],
  body: 'there is nothing here; paths below /.offshoot/ reach no workload\n',
};

/** An address without the token, and nobody is told where the person came from. */
const goOn = (to: string, cookie: readonly string[] = []): OwnAnswer => ({
  status: 303,
  headers: ['Location', to, 'Cache-Control', 'no-store', 'Referrer-Policy', 'no-referrer', ...cookie],
  body: '',
});

/** @throws OffshootError proxy/bad-request when it is too long, too slow, or broken off */
async function textOf(body: Readable): Promise<string> {
  const late = setTimeout(() => body.destroy(), BODY_MS);
  let text = '';
  try {
    // To its end, so that whoever sends too much can still read why not.
    for await (const chunk of body.setEncoding('utf8')) if (text.length <= BODY_BYTES) text += chunk;
  } catch (cause) {
    throw new OffshootError('proxy/bad-request', { why: 'its body did not come whole' }, { cause });
  } finally {
    clearTimeout(late);
  }
  if (text.length > BODY_BYTES)
    throw new OffshootError('proxy/bad-request', { why: `its body is longer than ${BODY_BYTES} bytes` });
  return text;
}
