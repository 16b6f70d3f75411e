/**
 * Documents that come as objects of the cluster: refused with the sentences that the command line prints, because the same
 * functions read them. What a document refers to may come later, as with GitOps; that is no reason to refuse it, but whoever
 * applies it is warned with the sentence that the command line refuses it with.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Baseline } from '../baseline/contract.ts';
import { storedName } from '../kubernetes/kinds.ts';
import type { KubernetesObject } from '../kubernetes/resource.ts';
import { checkResourcePlugin } from '../model/document/plugin.ts';
import { formatProblem, type Problem } from '../model/document/problem.ts';
import { checkSandbox } from '../model/document/sandbox.ts';
import { OffshootError } from '../model/errors.ts';
import type { Sandbox } from '../model/sandbox.ts';
import { checkBaseline } from '../rules/sandboxes.ts';
import type { AdmissionRequest, Verdict } from './admission.ts';

export function validateDocument(
  { kind, operation, object, oldObject }: AdmissionRequest,
  baseline: Baseline,
): Verdict {
  const read = Object.hasOwn(readers, kind.kind) ? readers[kind.kind as keyof typeof readers] : undefined;
  if (read === undefined || object == null || operation === 'DELETE') return { allowed: true };
  const { metadata, spec } = object as KubernetesObject;
  // One that was taken by an older version has to be able to go, and to have its status.
  const before = oldObject as KubernetesObject | undefined | null;
  if (metadata.deletionTimestamp !== undefined || (before != null && isDeepStrictEqual(before.spec, spec)))
    return { allowed: true };
  try {
    return { allowed: true, warnings: read(metadata.name, spec, baseline) };
  } catch (error) {
    if (!(error instanceof OffshootError)) throw error;
    const problems = (error.problems ?? []) as readonly Problem[];
    return { allowed: false, message: [...problems.map(formatProblem), error.message].join('\n') };
  }
}

// --- internal ------------------------------------------------------------------------------------

/** By kind: what reads the document, and returns warnings. @throws OffshootError document/invalid, document/not-supported */
const readers = {
  Sandbox(name: string, spec: unknown, baseline: Baseline) {
    const { sandbox, warnings } = checkSandbox({ name, spec });
    return [...warnings, ...missingFor(sandbox, baseline)];
  },
  ResourcePlugin(name: string, spec: unknown) {
    checkResourcePlugin({ name: storedName('plugin', name), spec });
    return [];
  },
} as const;

/** Sentences about what is not there yet. */
function missingFor({ spec }: Sandbox, baseline: Baseline): readonly string[] {
  try {
    checkBaseline(baseline, spec);
    return [];
  } catch (error) {
    if (!(error instanceof OffshootError)) throw error;
    return [error.message];
  }
}
