/** Hosts of previews: `<endpoint>--<sandbox>.preview.<domain>`. */

/**
 * The first label of a preview host.
 * @param host of a Host header, perhaps with a port
 * @returns undefined when it is not the host of any preview
 */
export function previewLabelOf(host: string, domain: string): string | undefined {
  const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, ''); // the root's dot
  const suffix = `.preview.${domain.toLowerCase()}`;
  if (!name.endsWith(suffix)) return undefined;
  const label = name.slice(0, -suffix.length);
  return /^[a-z0-9-]+--[a-z0-9-]+$/.test(label) ? label : undefined;
}
