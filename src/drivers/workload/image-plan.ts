/** What a container wants of its image, where a container engine runs it. Pure. */
import { expandCommand } from '../../model/container-env.ts';
import type { Container, Workload } from '../../model/kubernetes.ts';
import type { PullPolicy } from '../engine/contract.ts';

export type ImagePlan = {
  readonly name: string;
  readonly pull: PullPolicy;
  /** Replaces the image's entry point and arguments. */
  readonly command?: readonly string[];
  /** Without `command`: replaces the image's arguments. */
  readonly args?: readonly string[];
  readonly workingDir?: string;
  /** `uid` or `uid:gid`. */
  readonly user?: string;
  readonly privileged?: true;
  readonly readOnlyRoot?: true;
  readonly capabilities?: { readonly add: readonly string[]; readonly drop: readonly string[] };
};

/** @param env what `$(NAME)` in command and arguments may mean */
export function planImage(
  { spec }: Workload,
  container: Container,
  env: Readonly<Record<string, string>>,
): ImagePlan {
  const { image, command = [], args = [], workingDir, imagePullPolicy } = container;
  return {
    name: image,
    pull: pullPolicy(imagePullPolicy),
    ...(command.length > 0 && { command: expandCommand(command, env) }),
    ...(args.length > 0 && { args: expandCommand(args, env) }),
    ...(workingDir && { workingDir }),
    ...security(spec.template.spec.securityContext, container.securityContext),
  };
}

// --- internal -----------------------------------------------------------------------------------

/**
 * Without a policy an image that is there is taken, also by the tag `latest`, for which a cluster would ask its registry:
 * what somebody has just built here is in none.
 */
const pullPolicy = (policy: unknown): PullPolicy =>
  policy === 'Always' || policy === 'Never' ? policy : 'IfNotPresent';

type SecurityContext = {
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly privileged?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
};

/** That of the container goes over that of its pod (Kubernetes, "Configure a Security Context"). */
function security(ofPod: unknown, own: unknown): Partial<ImagePlan> {
  const { runAsUser, runAsGroup, privileged, readOnlyRootFilesystem, capabilities } = {
    ...(ofPod as SecurityContext | undefined),
    ...(own as SecurityContext | undefined),
  };
  const group = runAsGroup === undefined ? '' : `:${runAsGroup}`;
  const { add = [], drop = [] } = capabilities ?? {};
  return {
    ...((runAsUser !== undefined || group) && { user: `${runAsUser ?? 0}${group}` }),
    ...(privileged && { privileged }),
    ...(readOnlyRootFilesystem && { readOnlyRoot: true }),
    ...(add.length + drop.length > 0 && { capabilities: { add, drop } }),
  };
}
