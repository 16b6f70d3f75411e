/**
 * Rollouts of Argo may name a Deployment whose template is theirs (`workloadRef`) instead of having one. They are shown with it,
 * and change when it does; those whose Deployment is not there, or whose template is of another kind, are not shown.
 */
import { deepFreeze } from '../model/freeze.ts';
import type { Workload } from '../model/kubernetes.ts';
import type { Found } from './contract.ts';

type Shown = readonly [before: Found | undefined, now: Found | undefined];

export type LentTemplates = {
  /** What a change of a Rollout comes to. @param now absent: it is gone */
  take(before: Found | undefined, now: Found | undefined): Shown;
  /** What it comes to that a Deployment has changed, has come or has gone. */
  lenderChanged(namespace: string, name: string): readonly Shown[];
};

/** @param lenderOf the Deployment of that namespace and name */
export function lentTemplates(
  lenderOf: (namespace: string, name: string) => Found | undefined,
): LentTemplates {
  /** Those without a template of their own, by `namespace/name`. */
  const borrowers = new Map<string, { readonly own: Found; readonly shown: Found | undefined }>();

  function shownWith(own: Found): Found | undefined {
    const name = lenderName(own);
    const lender = name === undefined ? undefined : lenderOf(own.namespace, name);
    if (lender === undefined) return undefined;
    const { template } = (lender.object as Workload).spec;
    const object = own.object as Workload;
    return deepFreeze({
      ...own,
      object: { ...object, spec: { ...object.spec, template } },
      revision: `${own.revision}+${lender.revision}`,
    });
  }

  return {
    take(before, now) {
      const { namespace, name } = (now ?? before)!;
      const key = `${namespace}/${name}`;
      const was = borrowers.get(key);
      borrowers.delete(key);
      const shown = now === undefined || hasTemplate(now) ? now : shownWith(now);
      if (now !== undefined && !hasTemplate(now)) borrowers.set(key, { own: now, shown });
      const wasShown = before !== undefined && hasTemplate(before) ? before : was?.shown;
      return [wasShown, shown];
    },
    lenderChanged(namespace, name) {
      return [...borrowers].flatMap(([key, { own, shown: before }]) => {
        if (own.namespace !== namespace || lenderName(own) !== name) return [];
        const shown = shownWith(own);
        borrowers.set(key, { own, shown });
        return before === undefined && shown === undefined ? [] : [[before, shown] as const];
      });
    },
  };
}

// --- internal -----------------------------------------------------------------------------------

type Spec = {
  readonly template?: object;
  readonly workloadRef?: { readonly kind?: string; readonly name?: string };
};

const specOf = ({ object }: Found): Spec => (object as unknown as { readonly spec?: Spec }).spec ?? {};

const hasTemplate = (found: Found): boolean => specOf(found).template !== undefined;

function lenderName(found: Found): string | undefined {
  const { workloadRef } = specOf(found);
  return workloadRef?.kind === 'Deployment' ? workloadRef.name : undefined;
}
