/** All commands, loaded when they are called. */
import type { Command } from 'commander';
import type { Cli } from '../context.ts';

type Entry = {
  /** The word and its aliases. */
  readonly names: readonly string[];
  readonly load: () => Promise<{ readonly register: (program: Command, cli: Cli) => void }>;
};

export const commands: Readonly<Record<string, Entry>> = {
  up: { names: ['up'], load: () => import('./up.ts') },
  down: { names: ['down'], load: () => import('./down.ts') },
  status: { names: ['status'], load: () => import('./status.ts') },
  doctor: { names: ['doctor'], load: () => import('./doctor.ts') },
  repair: { names: ['repair'], load: () => import('./repair.ts') },
  init: { names: ['init'], load: () => import('./init.ts') },
  deploy: { names: ['deploy'], load: () => import('./deploy.ts') },
  undeploy: { names: ['undeploy'], load: () => import('./undeploy.ts') },
  image: { names: ['image'], load: () => import('./image.ts') },
  disk: { names: ['disk'], load: () => import('./disk.ts') },
  service: { names: ['service', 'svc'], load: () => import('./service.ts') },
  project: { names: ['project'], load: () => import('./project.ts') },
  branch: { names: ['branch'], load: () => import('./branch.ts') },
  trash: { names: ['trash'], load: () => import('./trash.ts') },
  pool: { names: ['pool'], load: () => import('./pool.ts') },
  ca: { names: ['ca'], load: () => import('./ca.ts') },
  logs: { names: ['logs'], load: () => import('./logs.ts') },
  exec: { names: ['exec'], load: () => import('./exec.ts') },
  shell: { names: ['shell'], load: () => import('./shell.ts') },
  wait: { names: ['wait'], load: () => import('./wait.ts') },
  restart: { names: ['restart'], load: () => import('./restart.ts') },
  sql: { names: ['sql'], load: () => import('./sql.ts') },
  migrate: { names: ['migrate'], load: () => import('./migrate.ts') },
  sandbox: { names: ['sandbox', 'sb'], load: () => import('./sandbox.ts') },
  resourceplugin: { names: ['resourceplugin', 'rp'], load: () => import('./resourceplugin.ts') },
  env: { names: ['env'], load: () => import('./env.ts') },
  git: { names: ['git'], load: () => import('./git.ts') },
  open: { names: ['open'], load: () => import('./open.ts') },
  key: { names: ['key'], load: () => import('./key.ts') },
  identity: { names: ['identity'], load: () => import('./identity.ts') },
  controller: { names: ['controller'], load: () => import('./controller.ts') },
  gateway: { names: ['gateway'], load: () => import('./gateway.ts') },
  sidecar: { names: ['sidecar'], load: () => import('./sidecar.ts') },
  redirect: { names: ['redirect'], load: () => import('./redirect.ts') },
  branches: { names: ['branches'], load: () => import('./branches.ts') },
  events: { names: ['events'], load: () => import('./events.ts') },
};
