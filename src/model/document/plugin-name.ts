/** Names of resource plugins in documents: `bare` or `bare@version`, the version a semantic one. */
import { canonicalPluginName } from '../plugin-name.ts';

/**
 * What is wrong with the name of a plugin, or undefined. A version may lack its minor and patch numbers
 * (`1.2`) and start with `v`.
 * @param latest whether `bare@latest` is a name: it can be referred to, but not published
 */
export function pluginNameProblem(name: string, { latest }: { latest: boolean }): string | undefined {
  const [bare = '', ...versions] = name.split('@');
  if (bare.length === 0 || bare.length > 253) return 'a plugin name has 1 to 253 characters';
  if (!BARE.test(bare))
    return 'a plugin name has only letters, digits and hyphens, a letter first and no hyphen last';
  const version = versions.length === 0 ? undefined : versions.join('@');
  if (version === undefined || VERSION.test(version)) return undefined;
  if (version !== 'latest') return `"${version}" is not a version, e.g. 1.2.0`;
  return latest ? undefined : '"latest" is not a version that can be published, e.g. 1.2.0 is';
}

/** `name` with its version completed (`x@v1.2` is `x@1.2.0`); a bare name stays bare, `latest` stays. */
export function completePluginName(name: string): string {
  if (!name.includes('@') || name.endsWith('@latest')) return name;
  const { bare, version } = canonicalPluginName(name);
  return `${bare}@${version}`;
}

// --- internal -----------------------------------------------------------------------------------

const BARE = /^[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?$/;

/** semver.org 2.0.0 without build metadata, which takes no part in the identity of a version. */
const VERSION =
  /^v?(0|[1-9]\d*)(\.(0|[1-9]\d*)(\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?)?)?$/;
