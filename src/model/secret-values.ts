/** What in the output of a step, or in an input or a variable, nobody is to read elsewhere. */

/** Whether an output, a variable or an input of this name holds a secret. */
export const isSecretName = (name: string): boolean =>
  /passw|pwd|passphrase|secret|token|credential|api[-_]?key|private[-_]?key|dsn|connection[-_]?(string|ur[il])|database[-_]?ur[il]/i.test(
    name,
  );

/**
 * Where a value has parts of which one is a password (a URL, a libpq string, JSON), that part, whatever the value is
 * called; otherwise all of it, if its name says so.
 */
export function secretsIn(name: string, value: string): readonly string[] {
  const parts = [...passwordsOfUrls(value), ...passwordsOfSettings(value), ...secretsOfJson(value)];
  if (parts.length > 0) return parts;
  const text = value.trim(); // a file's last line end is no part of it
  return isSecretName(name) && text !== '' ? [text] : [];
}

// --- internal -----------------------------------------------------------------------------------

/** RFC 3986, "User Information"; with and without its escapes. */
const passwordsOfUrls = (value: string): readonly string[] =>
  [...value.matchAll(/:\/\/[^\s:/@]*:([^\s/@]+)@/g)].flatMap(([, password = '']) => {
    try {
      return [password, decodeURIComponent(password)];
    } catch {
      return [password];
    }
  });

/** `host=x password=y` of libpq and its relatives, `password=y` in a query. */
const passwordsOfSettings = (value: string): readonly string[] =>
  [...value.matchAll(/\b(?:password|pwd)\s*=\s*(?:'((?:\\.|[^'\\])*)'|([^\s;&']+))/gi)].map(
    ([, quoted, plain]) => quoted?.replace(/\\(.)/gs, '$1') ?? plain!,
  );

function secretsOfJson(value: string): readonly string[] {
  if (!value.trimStart().startsWith('{')) return [];
  try {
    return Object.entries(JSON.parse(value) as Record<string, unknown>).flatMap(([key, inner]) =>
      typeof inner === 'string'
        ? secretsIn(key, inner)
        : typeof inner === 'object' && inner !== null
          ? secretsOfJson(JSON.stringify(inner))
          : [],
    );
  } catch {
    return [];
  }
}
