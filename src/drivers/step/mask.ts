/** Keeps secrets out of the output that errors show. */

/** Whether a variable or input of this name holds a secret. */
export const isSecretName = (name: string): boolean =>
  /password|passwd|secret|token|credential|api[-_]?key|connection[-_]string|database[-_]url/i.test(name);

/** Replaces every one of `secrets`, and the password of every URL, by `***`. */
export function maskSecrets(text: string, secrets: readonly string[]): string {
  // Longest first: one secret may be part of another. Very short ones would blacken every word.
  const worth = secrets.filter(secret => secret.length >= 4).sort((a, b) => b.length - a.length);
  const masked = worth.reduce((rest, secret) => rest.replaceAll(secret, () => '***'), text);
  return masked.replace(/(:\/\/[^\s:/@]*:)[^\s/@]+@/g, '$1***@');
}
