/** Public surface of the package: typed access to a daemon, and the words that it speaks. */
export { type Client, type Connection, createClient } from './client/index.ts';
export { checkResourcePlugin, readResourcePlugin } from './model/document/plugin.ts';
export { type CheckedSandbox, checkSandbox, readSandbox } from './model/document/sandbox.ts';
export { type ErrorBody, type ErrorCode, errorTable, OffshootError } from './model/errors.ts';
export type { ResourcePlugin } from './model/plugin.ts';
export type { Sandbox, SandboxSpec, SandboxStatus } from './model/sandbox.ts';
export type { BranchView, ManifestView, PluginView, ProjectView, SandboxView } from './model/view.ts';
