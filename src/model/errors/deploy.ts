import type { ErrorRow } from '../errors.ts';

/** The baseline: whose it is, and how it gets here. */
export const deployErrors = {
  'namespace/taken': {
    fault: 'conflict',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `namespace "${p.namespace}" belongs to the folder ${p.owner}, and this is ${p.folder}`,
    hint: () =>
      'deploy from that folder, into another namespace (-n NAME), or make it this folder\'s own with "--take-over"',
  },
  'manifest/none': {
    fault: 'user',
    http: 400,
    exit: 2,
    retry: false,
    say: p => `there is no object of Kubernetes in ${p.where}`,
    hint: () =>
      'name a file or a folder with manifests, which have apiVersion and kind; -R also looks into the folders below',
  },
  'deploy/no-kustomize': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.dir} needs Kustomize, and neither kustomize nor kubectl is installed`,
    hint: () => 'install one of them: https://kubectl.docs.kubernetes.io/installation/kustomize/',
  },
  'deploy/kustomize-failed': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p => `${p.command} could not render ${p.dir}`,
    hint: () => 'what it says is shown above; mend it, then repeat',
  },
  'image/missing': {
    fault: 'user',
    http: 422,
    exit: 1,
    retry: false,
    say: p =>
      `${p.images === 1 ? 'an image has' : `${p.images} images have`} no entry in ${p.file}, so ` +
      `${p.workloads === 1 ? 'a workload does' : `${p.workloads} workloads do`} not run`,
    hint: () =>
      'add what is shown above, with the folder and the program of each, or start Podman or Docker, which runs them as they are; then deploy again (--no-wait does without)',
  },
  'image/in-use': {
    fault: 'user',
    http: 409,
    exit: 1,
    retry: false,
    say: p => `the image "${p.image}" is what runs ${p.users}`,
    hint: () => 'change or remove what runs by it first',
  },
} as const satisfies Record<string, ErrorRow>;
