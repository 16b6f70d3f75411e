/** The one way to a patch: from its text in a document to the patched object. */
import { OffshootError } from '../errors.ts';
import type { Patch } from '../sandbox.ts';
import { yaml } from '../yaml-package.ts';
import { jsonPatch } from './json.ts';
import { mergePatch } from './merge.ts';
import { strategicMergePatch } from './strategic.ts';
import { isObject, type Json, type JsonObject } from './tree.ts';

/**
 * Applies a patch given as YAML or JSON text. The result shares unchanged parts with `document`.
 * @throws OffshootError fork/patch-failed naming the kind of patch, the place in it and the reason, never a value:
 *   values may be secrets.
 */
export function applyPatch(document: Json, { type, value }: Patch): Json {
  const patch = read(type, value);
  if (type !== 'json' && !isObject(patch)) throw failed(type, 'its text', 'it must be a map');
  return algorithms[type](document, patch);
}

/**
 * Merges a part of a pod's template, as text, into one. See applyPatch.
 * @throws OffshootError fork/patch-failed
 */
export function overlayTemplate(template: Json, text: string): Json {
  const overlay = read('strategic', text);
  if (!isObject(overlay)) throw failed('strategic', 'its text', 'it must be a map');
  const whole = strategicMergePatch({ spec: { template } }, { spec: { template: overlay } });
  return ((whole as JsonObject).spec as JsonObject).template!;
}

// --- internal -----------------------------------------------------------------------------------

const algorithms: Readonly<Record<Patch['type'], (document: Json, patch: Json) => Json>> = {
  strategic: strategicMergePatch,
  merge: mergePatch,
  json: jsonPatch,
};

/** `__proto__` is refused: as data it is useless, and code further down may take it for the prototype. */
function read(type: Patch['type'], text: string): Json {
  let forbidden = false;
  try {
    const refuse = (key: unknown, value: unknown) => {
      forbidden ||= key === '__proto__';
      return value;
    };
    const patch = yaml().parse(text, refuse, { stringKeys: true, logLevel: 'error' });
    if (!forbidden) return patch;
  } catch (cause) {
    throw failed(type, 'its text', sentenceOf(cause as Error), cause);
  }
  throw failed(type, 'its text', 'the key "__proto__" is not allowed');
}

function sentenceOf(error: Error): string {
  if (error instanceof yaml().YAMLParseError && error.code === 'MULTIPLE_DOCS')
    return 'it holds more than one document';
  // The further lines quote the text, which may hold a secret.
  return error.message.split('\n')[0]!.replace(/:$/, '');
}

const failed = (type: Patch['type'], where: string, why: string, cause?: unknown) =>
  new OffshootError('fork/patch-failed', { type, where, why }, { cause });
