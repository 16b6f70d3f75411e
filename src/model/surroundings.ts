/**
 * Where a container runs on this machine, for a program that is to run there, too. Whoever enters does it by himself, with
 * the rights that he has; the system asks for as many as the daemon has.
 */
export type Surroundings = {
  readonly pod: string;
  readonly container: string;
  /** Of the container's program, whose namespaces are entered; its start tells it from others of that pid. */
  readonly pid: number;
  readonly startTime: string;
  /** Which life of which machine that is; see lib/boot.ts. */
  readonly boot: string;
  /** Of ordinary users: a process as root of whose user namespace the pod's network and processes were made. */
  readonly through?: number;
  /** Its mounts are its own, and so can be entered. */
  readonly mounts: boolean;
  readonly cwd: string;
  /** Of the container, secrets included. */
  readonly env: Readonly<Record<string, string>>;
};
