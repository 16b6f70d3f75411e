/**
 * What a plugin's step is in a cluster: a Job with one pod, and a Secret, to which the Job belongs, with all that is given
 * to the script. In the pod `main` runs the script; beside it, where there are outputs, a container of ours waits for its
 * end, reads the files and tells them sealed (collector.ts). Pure.
 */
import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import type { KubernetesObject } from '../../kubernetes/resource.ts';
import type { Container, EnvVar, Volume, VolumeMount } from '../../model/kubernetes.ts';
import { type RunnerTemplate, runnerTemplate, scriptContainer } from '../../model/pod-overlay.ts';
import type { StepSpec } from '../contract.ts';
import { interpreterOf } from '../interpreter.ts';
import { systemFolders } from '../step-end.ts';
import { noRouter } from './fork-objects.ts';

export type StepObjects = {
  readonly namespace: string;
  /** Of both objects. */
  readonly name: string;
  /** Equal hashes mean the same step. */
  readonly hash: string;
  readonly secret: KubernetesObject;
  /** @param secretUid of the Secret that was made */
  job(secretUid: string): KubernetesObject;
};

export type StepPlace = {
  /** Of our installation; plugins that name none run there. */
  readonly namespace: string;
  /** Names the installation, among others in one cluster. */
  readonly installation: string;
  /** Ours: it reads outputs, and runs scripts whose plugin names none. */
  readonly image: string;
  /** Milliseconds after which a step is ended even if nobody asks for it any more. */
  readonly longestMs: number;
};

export const stepLabels = {
  /** Whose it is, among installations in one cluster. */
  installation: 'offshoot.dev/steps-of',
  /** Name of the Job. */
  step: 'offshoot.dev/step',
  sandbox: 'offshoot.dev/sandbox',
} as const;

export const stepAnnotations = { id: 'offshoot.dev/id', spec: 'offshoot.dev/spec' } as const;

export const collector = 'offshoot-outputs';

/** Where the Secret has the key of the collector's seal. */
export const sealKey = 'seal-key';

export const stepNamespace = ({ runner }: StepSpec, { namespace }: StepPlace): string =>
  runner?.namespace ?? namespace;

/** It ends up as a label, which has at most 63 characters, and pods get five more. */
export function stepJobName(id: string, installation: string): string {
  const [sandbox = '', , , step = ''] = id.split('.');
  const words = `${sandbox}-${step}`.toLowerCase().slice(0, 40).replace(/-+$/, '');
  const hash = createHash('sha256').update(`${installation}\n${id}`).digest('hex').slice(0, 10);
  return `step-${words}-${hash}`;
}

/** @returns why a step cannot have a file there: its folder is one of the pod's own, in place of the image's */
export function outputPathProblem(path: string): string | undefined {
  const absolute = posix.resolve(work, path);
  if (!path.startsWith('/'))
    return absolute.startsWith(`${work}/`) ? undefined : 'it leads out of the working directory';
  const folder = posix.dirname(absolute);
  if (systemFolders.includes(folder) || /^\/(proc|sys|dev)(\/|$)/.test(folder))
    return `${folder} is the system's own folder in the image`;
  return undefined;
}

/**
 * @param key of the seal
 * @throws OffshootError step/overlay-invalid
 */
export function stepObjects(id: string, spec: StepSpec, place: StepPlace, key: string): StepObjects {
  const { installation, image } = place;
  const namespace = stepNamespace(spec, place);
  const [sandbox = '', , , step = ''] = id.split('.');
  const name = stepJobName(id, installation);
  const hash = hashOf(spec, image);
  const meta = {
    ...{ name, namespace },
    labels: {
      [stepLabels.installation]: installation,
      [stepLabels.step]: name,
      [stepLabels.sandbox]: sandbox,
    },
    annotations: { [stepAnnotations.id]: id, [stepAnnotations.spec]: hash },
  };
  const given = givenTo(spec, name);
  const folders = foldersOf(spec);
  const stringData = {
    ...given.values,
    [sealKey]: key,
    outputs: JSON.stringify({ step, outputs: spec.outputs.map(output => locate(output, folders)) }),
  };
  const template = templateOf(runnerTemplate(spec.runner ?? {}, image), spec, {
    name,
    image,
    folders,
    ...given,
  });
  const labels = { ...template.metadata.labels, ...meta.labels };
  const annotations = { ...template.metadata.annotations, ...noRouter, [stepAnnotations.id]: id };
  return {
    ...{ namespace, name, hash },
    secret: { ...{ apiVersion: 'v1', kind: 'Secret', metadata: meta, type: 'Opaque' }, stringData },
    job: uid => ({
      ...{ apiVersion: 'batch/v1', kind: 'Job' },
      metadata: { ...meta, ownerReferences: [{ apiVersion: 'v1', kind: 'Secret', name, uid }] },
      spec: {
        // Our journal says whether it is tried again.
        backoffLimit: 0,
        activeDeadlineSeconds: Math.ceil(place.longestMs / 1000),
        template: { metadata: { ...template.metadata, labels, annotations }, spec: template.spec },
      },
    }),
  };
}

// --- internal -----------------------------------------------------------------------------------

const root = '/offshoot';
const work = `${root}/work`;
const script = `${root}/script`;

/** How our API is called differs between controllers; it makes no other step. */
function hashOf({ script, inputs, outputs, env, runner }: StepSpec, image: string): string {
  const own = Object.entries(env).filter(([name]) => !name.startsWith('OFFSHOOT_'));
  const all = [script, inputs, outputs, own, runner, runner?.image === undefined ? image : undefined];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 16);
}

type Given = {
  readonly values: Readonly<Record<string, string>>;
  readonly env: readonly EnvVar[];
  readonly files: readonly VolumeMount[];
};

/** Everything that a script is given may be a secret. */
function givenTo({ script: text, env, inputs }: StepSpec, secret: string): Given {
  const variables = new Map(Object.entries(env));
  for (const { name, as, value } of inputs) {
    const variable =
      as?.env ?? (as?.path === undefined ? name.toUpperCase().replaceAll('-', '_') : undefined);
    if (variable !== undefined) variables.set(variable, value);
  }
  const files = inputs.flatMap(({ as, value }, i) =>
    as?.path === undefined ? [] : [{ key: `file-${i}`, mountPath: posix.resolve(work, as.path), value }],
  );
  const values: Record<string, string> = { script: text };
  const referenced = [...variables].map(([name, value], i): EnvVar => {
    values[`variable-${i}`] = value;
    return { name, valueFrom: { secretKeyRef: { name: secret, key: `variable-${i}` } } };
  });
  for (const { key, value } of files) values[key] = value;
  const mounted = [{ key: 'script', mountPath: script }, ...files].map(({ key, mountPath }) => ({
    ...{ name: 'offshoot-given', mountPath, subPath: key, readOnly: true },
  }));
  return { values, env: referenced, files: mounted };
}

type Folder = { readonly path: string; readonly name: string };

/** Of all outputs, as folders of the pod; one that is in another is a part of it. */
function foldersOf({ outputs }: StepSpec): readonly Folder[] {
  const paths = outputs.map(({ valueFromPath = '' }) => posix.dirname(posix.resolve(work, valueFromPath)));
  const all = [...new Set([work, ...paths])].sort((a, b) => a.length - b.length);
  const outer = all.filter(path => !all.some(other => other !== path && path.startsWith(`${other}/`)));
  return outer.map((path, i) => ({ path, name: `offshoot-folder-${i}` }));
}

/** Where the collector finds an output. */
function locate({ name, valueFromPath = '' }: StepSpec['outputs'][number], folders: readonly Folder[]) {
  const path = posix.resolve(work, valueFromPath);
  const folder = folders.find(({ path: folder }) => path.startsWith(`${folder}/`))!;
  return { name, valueFromPath, file: posix.join(root, folder.name, path.slice(folder.path.length)) };
}

function templateOf(
  { metadata, spec: pod }: RunnerTemplate,
  spec: StepSpec,
  { name, image, folders, env, files }: Given & { name: string; image: string; folders: readonly Folder[] },
): RunnerTemplate {
  const [program, ...argument] = interpreterOf(spec.script);
  const user = userOf(pod, image);
  const containers = pod.containers.map((container): Container => {
    if (container.name !== scriptContainer) return container;
    const { args: _, ...kept } = container;
    const names = new Set(env.map(variable => variable.name));
    return {
      ...kept,
      imagePullPolicy: container.imagePullPolicy ?? 'IfNotPresent',
      command: [program, ...argument, script],
      workingDir: work,
      env: [...(container.env ?? []).filter(variable => !names.has(variable.name)), ...env],
      volumeMounts: [
        ...folders.map(folder => ({ name: folder.name, mountPath: folder.path })),
        ...files,
        ...(container.volumeMounts ?? []),
      ],
      ...(container.image === image &&
        container.securityContext === undefined && { securityContext: modest }),
    };
  });
  const volumes: Volume[] = [
    ...(pod.volumes ?? []),
    ...folders.map(folder => ({ name: folder.name, emptyDir: {} })),
    { name: 'offshoot-given', secret: { secretName: name, defaultMode: 0o555 } },
  ];
  const { serviceAccountName, automountServiceAccountToken } = pod;
  return {
    metadata,
    spec: {
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 30,
      ...pod,
      ...(serviceAccountName === undefined &&
        automountServiceAccountToken === undefined && { automountServiceAccountToken: false }),
      ...(spec.outputs.length > 0 && {
        initContainers: [...(pod.initContainers ?? []), collectorOf(image, folders, user)],
      }),
      containers,
      volumes,
    },
  };
}

const modest = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};

/** Who the script is, as far as the pod says it: his files may be for nobody else's eyes. Undefined: who our image says. */
function userOf(pod: RunnerTemplate['spec'], image: string): number | undefined {
  type Context = { readonly runAsUser?: number; readonly runAsNonRoot?: boolean } | undefined;
  const main = pod.containers.find(({ name }) => name === scriptContainer)!;
  const [own, all] = [main.securityContext as Context, pod.securityContext as Context];
  const said = own?.runAsUser ?? all?.runAsUser;
  if (said !== undefined) return said;
  return main.image === image || (own?.runAsNonRoot ?? all?.runAsNonRoot) ? undefined : 0;
}

/**
 * A sidecar in Kubernetes' sense: it is asked to end when all others have ended. A shell waits for that, because a process
 * 1 that has not said what it does on SIGTERM ignores it, and a shell has said so before any script begins.
 */
function collectorOf(image: string, folders: readonly Folder[], user: number | undefined): Container {
  const waiting = 'trap "exec offshoot collector" TERM; while :; do sleep 3600 & wait $!; done';
  return {
    ...{ name: collector, image, imagePullPolicy: 'IfNotPresent', restartPolicy: 'Always' },
    command: ['/bin/sh', '-c', waiting],
    volumeMounts: [
      ...folders.map(({ name }) => ({ name, mountPath: posix.join(root, name), readOnly: true })),
      ...[sealKey, 'outputs'].map(key => ({
        ...{
          name: 'offshoot-given',
          mountPath: posix.join(root, 'collect', key),
          subPath: key,
          readOnly: true,
        },
      })),
    ],
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '128Mi' } },
    securityContext: {
      ...modest,
      readOnlyRootFilesystem: true,
      runAsNonRoot: user !== 0,
      ...(user !== undefined && { runAsUser: user }),
    },
  };
}
