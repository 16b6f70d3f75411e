/** The `patch` customization of a fork: after any patch, what we rely on in a workload must still be there. */
import { z } from 'zod';
import { OffshootError } from './errors.ts';
import type { Workload } from './kubernetes.ts';
import { applyPatch } from './patch/apply.ts';
import type { Json } from './patch/tree.ts';
import type { Patch } from './sandbox.ts';

/**
 * Applies `patch` and checks the result.
 * @param path where the patch stands, for messages
 * @throws OffshootError fork/patch-failed, fork/patched-invalid
 */
export function patchWorkload(workload: Workload, patch: Patch, path: string): Workload {
  const result = attempt(workload as unknown as Json, patch, path);
  const checked = patchedSchema.safeParse(result);
  if (checked.success) return result as unknown as Workload;
  const [issue] = checked.error.issues;
  throw new OffshootError('fork/patched-invalid', {
    path,
    kind: workload.kind,
    type: patch.type,
    where: issue!.path.join('.') || 'its top level',
    why: issue!.message,
  });
}

// --- internal -----------------------------------------------------------------------------------

function attempt(document: Json, patch: Patch, path: string): Json {
  try {
    return applyPatch(document, patch);
  } catch (error) {
    if (!(error instanceof OffshootError)) throw error;
    throw new OffshootError(error.code, { ...error.params, path }, { cause: error });
  }
}

/** The fields of model/kubernetes.ts that make a container; all else is the business of whoever wrote the patch. */
const strings = z.array(z.string());
const reference = z.looseObject({ name: z.string() });
const keyReference = reference.extend({ key: z.string() });
const variable = z.looseObject({
  name: z.string().min(1),
  value: z.string().optional(),
  valueFrom: z
    .looseObject({
      configMapKeyRef: keyReference.optional(),
      secretKeyRef: keyReference.optional(),
      fieldRef: z.looseObject({ fieldPath: z.string() }).optional(),
      resourceFieldRef: z.looseObject({ resource: z.string() }).optional(),
    })
    .optional(),
});
const variables = z.looseObject({
  prefix: z.string().optional(),
  configMapRef: reference.optional(),
  secretRef: reference.optional(),
});
const port = z.looseObject({
  name: z.string().optional(),
  containerPort: z.int().min(1).max(65_535),
  protocol: z.string().optional(),
});
const containers = z
  .array(
    z.looseObject({
      name: z.string().min(1),
      image: z.string().min(1),
      command: strings.optional(),
      args: strings.optional(),
      workingDir: z.string().optional(),
      ports: z.array(port).optional(),
      env: z.array(variable).optional(),
      envFrom: z.array(variables).optional(),
    }),
  )
  .refine(list => new Set(list.map(c => c.name)).size === list.length, 'two containers have the same name');
const texts = z.record(z.string(), z.string()).optional();
const metadata = z.looseObject({ labels: texts, annotations: texts });
const volume = z.looseObject({
  name: z.string().min(1),
  configMap: reference.optional(),
  secret: z.looseObject({ secretName: z.string() }).optional(),
  projected: z
    .looseObject({
      sources: z
        .array(z.looseObject({ configMap: reference.optional(), secret: reference.optional() }))
        .optional(),
    })
    .optional(),
});
const podSpec = z.looseObject({
  containers: containers.min(1),
  initContainers: containers.optional(),
  volumes: z.array(volume).optional(),
});
const patchedSchema = z.looseObject({
  metadata,
  spec: z.looseObject({
    replicas: z.int().min(0).optional(),
    template: z.looseObject({ metadata: metadata.optional(), spec: podSpec }),
  }),
});
