/** The environment of a container as the kubelet makes it (Kubernetes API reference, EnvVar and EnvFromSource). */
import { createHash } from 'node:crypto';
import type { Container, EnvFromSource, EnvVar, PodTemplate } from './kubernetes.ts';
import { type PodMeta, podMetaField, podMetaValue } from './pod-meta.ts';
import { type Node, resourceField } from './resource-field.ts';

type Values = Readonly<Record<string, string>>;

/** Text that env may refer to, by `namespace/name`. */
export type EnvRefs = {
  readonly configMaps: Readonly<Record<string, Values>>;
  readonly secrets: Readonly<Record<string, Values>>;
};

/** What `fieldRef` and `resourceFieldRef` can ask of a running pod. */
export type PodFields = {
  readonly name: string;
  /** Default: derived from its name. */
  readonly uid?: string;
  readonly ip: string;
  readonly node: Node;
  readonly spec: PodTemplate['spec'];
};

export type ResolvedEnv = {
  /** What the container declares; `inherited` is not in it. */
  readonly env: Record<string, string>;
  /** What it refers to and is not there, in words: `key "url" of Secret "demo/db" (env DATABASE_URL)`. */
  readonly missing: readonly string[];
};

/**
 * `envFrom`, then `env`, later ones winning. `$(NAME)` in a value of `env` means a variable declared before it, or
 * one of `inherited`.
 * @param inherited weaker variables that are there anyway: of the services, of the image
 */
export function resolveEnv(
  container: Container,
  meta: PodMeta,
  refs: EnvRefs,
  fields: PodFields,
  inherited: Values = {},
): ResolvedEnv {
  const lookup = new Lookup(refs, meta, fields, container);
  const declared = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    for (const [key, value] of Object.entries(lookup.all(source))) {
      declared.set((source.prefix ?? '') + key, value);
    }
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    // As in the kubelet, a value that is not empty wins over valueFrom.
    const resolved =
      value || valueFrom === undefined
        ? expand(value ?? '', known => declared.get(known) ?? own(inherited, known))
        : lookup.one(name, valueFrom);
    if (resolved !== undefined) declared.set(name, resolved);
  }
  return { env: Object.fromEntries(declared), missing: lookup.missing };
}

/** `command` or `args` of a container with `$(NAME)` replaced; unknown names stay as they are, `$$` is a `$`. */
export const expandCommand = (args: readonly string[], env: Values): string[] =>
  args.map(arg => expand(arg, name => own(env, name)));

/** A text that the replacement of `$(NAME)` turns back into `text`. */
export const literal = (text: string): string => text.replaceAll('$', '$$$$');

/** As long as the pod has its name, which is as long as it lives. */
export const podUid = (namespace: string, name: string): string =>
  createHash('sha256')
    .update(`${namespace}/${name}`)
    .digest('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5');

// --- internal -----------------------------------------------------------------------------------

type ValueSource = NonNullable<EnvVar['valueFrom']>;
type KeyRef = NonNullable<ValueSource['configMapKeyRef']>;
type ResourceRef = NonNullable<ValueSource['resourceFieldRef']>;
type RefKind = 'ConfigMap' | 'Secret';

/** Kubernetes documentation, "Define Dependent Environment Variables". */
const expand = (text: string, valueFor: (name: string) => string | undefined): string =>
  text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (valueFor(name) ?? whole),
  );

/** Finds what references point to, and remembers those that point to nothing. */
class Lookup {
  readonly missing: string[] = [];
  readonly #refs: Readonly<Record<RefKind, Readonly<Record<string, Values>>>>;
  readonly #meta: PodMeta;
  readonly #namespace: string;
  readonly #fields: Values;
  readonly #pod: PodFields;
  readonly #container: Container;

  constructor({ configMaps, secrets }: EnvRefs, meta: PodMeta, pod: PodFields, container: Container) {
    const { name, ip, node, spec, uid } = pod;
    this.#pod = pod;
    this.#container = container;
    this.#refs = { ConfigMap: configMaps, Secret: secrets };
    this.#meta = meta;
    this.#namespace = meta.namespace ?? 'default';
    // "Downward API", "Information available via fieldRef".
    this.#fields = {
      'metadata.name': name,
      'metadata.namespace': this.#namespace,
      'metadata.uid': uid ?? podUid(this.#namespace, name),
      'spec.nodeName': node.name,
      'spec.serviceAccountName': String(spec.serviceAccountName ?? spec.serviceAccount ?? 'default'),
      'status.hostIP': ip,
      'status.hostIPs': ip,
      'status.podIP': ip,
      'status.podIPs': ip,
    };
  }

  all({ configMapRef, secretRef }: EnvFromSource): Values {
    return {
      ...(configMapRef && this.#values('ConfigMap', configMapRef, 'envFrom')),
      ...(secretRef && this.#values('Secret', secretRef, 'envFrom')),
    };
  }

  /** @returns undefined: the variable stays unset. */
  one(variable: string, source: ValueSource): string | undefined {
    const user = `env ${variable}`;
    if (source.configMapKeyRef) return this.#key('ConfigMap', source.configMapKeyRef, user);
    if (source.secretKeyRef) return this.#key('Secret', source.secretKeyRef, user);
    const { fieldRef, resourceFieldRef } = source;
    const value = fieldRef
      ? this.#field(fieldRef.fieldPath)
      : resourceFieldRef && this.#resource(resourceFieldRef);
    if (value === undefined) {
      const named = fieldRef ? `field "${fieldRef.fieldPath}"` : Object.keys(source).join(', ');
      this.missing.push(`${resourceFieldRef ? `resource "${resourceFieldRef.resource}"` : named} (${user})`);
    }
    return value;
  }

  #resource({ containerName, resource, divisor = '1' }: ResourceRef): string | undefined {
    const { containers, initContainers = [] } = this.#pod.spec;
    const container =
      containerName === undefined
        ? this.#container
        : [...containers, ...initContainers].find(({ name }) => name === containerName);
    return container && resourceField(container, resource, String(divisor), this.#pod.node);
  }

  #values(
    kind: RefKind,
    { name, optional }: Pick<KeyRef, 'name' | 'optional'>,
    user: string,
  ): Values | undefined {
    const id = `${this.#namespace}/${name}`;
    const values = own(this.#refs[kind], id);
    if (values === undefined && !optional) this.missing.push(`${kind} "${id}" (${user})`);
    return values;
  }

  #key(kind: RefKind, ref: KeyRef, user: string): string | undefined {
    const values = this.#values(kind, ref, user);
    if (values === undefined) return undefined;
    const value = own(values, ref.key);
    if (value === undefined && !ref.optional)
      this.missing.push(`key "${ref.key}" of ${kind} "${this.#namespace}/${ref.name}" (${user})`);
    return value;
  }

  #field(path: string): string | undefined {
    const inMeta = podMetaField(path);
    return inMeta === undefined ? own(this.#fields, path) : podMetaValue(this.#meta, inMeta);
  }
}

/** Names come from documents, and every object has a `constructor` that is not its own. */
const own = <T>(record: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined;
