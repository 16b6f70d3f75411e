/** Semantics of Kubernetes' strategic merge patch on the fields of a Deployment's pod. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { OffshootError } from '../../../src/model/errors.ts';
import { strategicMergePatch } from '../../../src/model/patch/strategic.ts';
import type { Json } from '../../../src/model/patch/tree.ts';

/** A Deployment with this pod spec; tables below only speak of pod specs, in YAML. */
const deployment = (podSpec: Json): Json => ({ spec: { template: { spec: podSpec } } });

const applies: readonly (readonly [name: string, pod: string, patch: string, expected: string])[] = [
  // maps
  [
    'maps are merged',
    '{securityContext: {runAsUser: 1, fsGroup: 2}}',
    '{securityContext: {fsGroup: 3}}',
    '{securityContext: {runAsUser: 1, fsGroup: 3}}',
  ],
  ['null removes a field', '{nodeName: n, hostNetwork: true}', '{nodeName: null}', '{hostNetwork: true}'],
  ['null of an absent field does nothing', '{hostNetwork: true}', '{nodeName: null}', '{hostNetwork: true}'],
  [
    'nulls in something new are dropped',
    '{}',
    '{securityContext: {fsGroup: 3, runAsUser: null}}',
    '{securityContext: {fsGroup: 3}}',
  ],
  ['a value of another type replaces', '{affinity: text}', '{affinity: {a: 1}}', '{affinity: {a: 1}}'],
  [
    '$patch replace on a map',
    '{securityContext: {runAsUser: 1}}',
    '{securityContext: {$patch: replace, fsGroup: 3}}',
    '{securityContext: {fsGroup: 3}}',
  ],
  [
    '$patch delete on a map',
    '{securityContext: {runAsUser: 1}, nodeName: n}',
    '{securityContext: {$patch: delete}}',
    '{nodeName: n}',
  ],
  [
    '$patch merge on a map is the default',
    '{securityContext: {runAsUser: 1}}',
    '{securityContext: {$patch: merge, fsGroup: 3}}',
    '{securityContext: {runAsUser: 1, fsGroup: 3}}',
  ],
  [
    '$retainKeys drops the others',
    '{strategy: {type: A, a: 1, b: 2}}',
    '{strategy: {$retainKeys: [type, b], type: B}}',
    '{strategy: {type: B, b: 2}}',
  ],
  [
    '$retainKeys lets a volume change its source',
    '{volumes: [{name: v, emptyDir: {}}]}',
    '{volumes: [{name: v, $retainKeys: [name, secret], secret: {secretName: s}}]}',
    '{volumes: [{name: v, secret: {secretName: s}}]}',
  ],
  // lists by key
  [
    'containers by name',
    '{containers: [{name: a, image: 1, tty: true}, {name: b, image: 1}]}',
    '{containers: [{name: a, image: 2}]}',
    '{containers: [{name: a, image: 2, tty: true}, {name: b, image: 1}]}',
  ],
  [
    'init containers by name',
    '{initContainers: [{name: a, image: 1, tty: true}]}',
    '{initContainers: [{name: a, image: 2}]}',
    '{initContainers: [{name: a, image: 2, tty: true}]}',
  ],
  [
    'a new container stands first',
    '{containers: [{name: a}]}',
    '{containers: [{name: b}]}',
    '{containers: [{name: b}, {name: a}]}',
  ],
  [
    'env by name, inside a container',
    '{containers: [{name: a, env: [{name: X, value: "1"}, {name: Y, value: "1"}]}]}',
    '{containers: [{name: a, env: [{name: Y, value: "2"}]}]}',
    '{containers: [{name: a, env: [{name: X, value: "1"}, {name: Y, value: "2"}]}]}',
  ],
  [
    'value to valueFrom',
    '{containers: [{name: a, env: [{name: X, value: "1"}]}]}',
    '{containers: [{name: a, env: [{name: X, value: null, valueFrom: {fieldRef: {fieldPath: p}}}]}]}',
    '{containers: [{name: a, env: [{name: X, valueFrom: {fieldRef: {fieldPath: p}}}]}]}',
  ],
  [
    'ports by containerPort',
    '{containers: [{name: a, ports: [{containerPort: 80, name: web}, {containerPort: 81}]}]}',
    '{containers: [{name: a, ports: [{containerPort: 80, protocol: TCP}]}]}',
    '{containers: [{name: a, ports: [{containerPort: 80, name: web, protocol: TCP}, {containerPort: 81}]}]}',
  ],
  [
    'volumeMounts by mountPath',
    '{containers: [{name: a, volumeMounts: [{mountPath: /a, name: v}]}]}',
    '{containers: [{name: a, volumeMounts: [{mountPath: /a, readOnly: true}]}]}',
    '{containers: [{name: a, volumeMounts: [{mountPath: /a, name: v, readOnly: true}]}]}',
  ],
  [
    'volumes by name',
    '{volumes: [{name: v, emptyDir: {}}]}',
    '{volumes: [{name: v, emptyDir: {medium: Memory}}]}',
    '{volumes: [{name: v, emptyDir: {medium: Memory}}]}',
  ],
  [
    'imagePullSecrets by name',
    '{imagePullSecrets: [{name: a}]}',
    '{imagePullSecrets: [{name: a}, {name: b}]}',
    '{imagePullSecrets: [{name: a}, {name: b}]}',
  ],
  [
    'hostAliases by ip',
    '{hostAliases: [{ip: 1.1.1.1, hostnames: [a]}]}',
    '{hostAliases: [{ip: 1.1.1.1, hostnames: [b]}]}',
    '{hostAliases: [{ip: 1.1.1.1, hostnames: [b]}]}',
  ],
  [
    'topologySpreadConstraints by topologyKey',
    '{topologySpreadConstraints: [{topologyKey: z, maxSkew: 1, a: 1}]}',
    '{topologySpreadConstraints: [{topologyKey: z, maxSkew: 2}]}',
    '{topologySpreadConstraints: [{topologyKey: z, maxSkew: 2, a: 1}]}',
  ],
  [
    'tolerations are replaced',
    '{tolerations: [{key: a}]}',
    '{tolerations: [{key: b}]}',
    '{tolerations: [{key: b}]}',
  ],
  [
    'command, args and envFrom are replaced',
    '{containers: [{name: a, command: [x], args: [y, z], envFrom: [{secretRef: {name: s}}]}]}',
    '{containers: [{name: a, command: [c], args: [], envFrom: [{configMapRef: {name: m}}]}]}',
    '{containers: [{name: a, command: [c], args: [], envFrom: [{configMapRef: {name: m}}]}]}',
  ],
  [
    'nulls inside a replaced list are dropped',
    '{tolerations: []}',
    '{tolerations: [{key: b, value: null}]}',
    '{tolerations: [{key: b}]}',
  ],
  [
    '$patch delete in a list',
    '{containers: [{name: a}, {name: b}]}',
    '{containers: [{name: a, $patch: delete}]}',
    '{containers: [{name: b}]}',
  ],
  [
    '$patch delete of what is not there',
    '{containers: [{name: a}]}',
    '{containers: [{name: x, $patch: delete}]}',
    '{containers: [{name: a}]}',
  ],
  [
    'delete, then the same name anew',
    '{containers: [{name: a, tty: true}, {name: b}]}',
    '{containers: [{name: a, $patch: delete}, {name: a, image: 2}]}',
    '{containers: [{name: a, image: 2}, {name: b}]}',
  ],
  [
    '$patch replace for a list',
    '{containers: [{name: a, tty: true}, {name: b}]}',
    '{containers: [{$patch: replace}, {name: a, image: 2}]}',
    '{containers: [{name: a, image: 2}]}',
  ],
  [
    '$patch merge in a list is the default',
    '{containers: [{name: a, tty: true}]}',
    '{containers: [{name: a, $patch: merge, image: 2}]}',
    '{containers: [{name: a, tty: true, image: 2}]}',
  ],
  [
    'directives in something new are obeyed',
    '{}',
    '{containers: [{name: x, $patch: delete}, {name: a, env: [{$patch: replace}, {name: X, value: "1"}]}]}',
    '{containers: [{name: a, env: [{name: X, value: "1"}]}]}',
  ],
  // order
  [
    'named elements follow the patch',
    '{volumes: [{name: a}, {name: b}, {name: c}]}',
    '{volumes: [{name: c, x: 1}, {name: a, x: 1}]}',
    '{volumes: [{name: b}, {name: c, x: 1}, {name: a, x: 1}]}',
  ],
  [
    'the others keep their place before named ones',
    '{volumes: [{name: a}, {name: b}, {name: c}]}',
    '{volumes: [{name: b, x: 1}, {name: n}]}',
    '{volumes: [{name: a}, {name: b, x: 1}, {name: n}, {name: c}]}',
  ],
  [
    '$setElementOrder alone',
    '{volumes: [{name: a}, {name: b}, {name: c}]}',
    '{$setElementOrder/volumes: [{name: c}, {name: b}, {name: a}]}',
    '{volumes: [{name: c}, {name: b}, {name: a}]}',
  ],
  [
    '$setElementOrder with a new element',
    '{volumes: [{name: a}, {name: b}]}',
    '{$setElementOrder/volumes: [{name: a}, {name: n}, {name: b}], volumes: [{name: n}]}',
    '{volumes: [{name: a}, {name: n}, {name: b}]}',
  ],
  [
    '$setElementOrder with a deleted element',
    '{volumes: [{name: a}, {name: b}, {name: c}]}',
    '{$setElementOrder/volumes: [{name: c}, {name: a}], volumes: [{name: b, $patch: delete}]}',
    '{volumes: [{name: c}, {name: a}]}',
  ],
  ['$setElementOrder for a list that does not exist', '{}', '{$setElementOrder/volumes: [{name: a}]}', '{}'],
  // lists of scalars
  [
    '$deleteFromPrimitiveList',
    '{containers: [{name: a, args: [x, y, z]}]}',
    '{containers: [{name: a, $deleteFromPrimitiveList/args: [x, z, q]}]}',
    '{containers: [{name: a, args: [y]}]}',
  ],
  ['$deleteFromPrimitiveList of an absent list', '{}', '{$deleteFromPrimitiveList/x: [a]}', '{}'],
  // names that every object has
  [
    'constructor is an ordinary key',
    '{}',
    '{constructor: {prototype: {polluted: 1}}}',
    '{constructor: {prototype: {polluted: 1}}}',
  ],
];

for (const [name, pod, patch, expected] of applies) {
  test(`applies: ${name}`, () => {
    const document = deployment(parse(pod));
    const before = structuredClone(document);
    assert.deepEqual(strategicMergePatch(document, deployment(parse(patch))), deployment(parse(expected)));
    assert.deepEqual(document, before);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });
}

test('finalizers are a set', () => {
  const document = { metadata: { finalizers: ['a', 'b'] } };
  const add = { metadata: { finalizers: ['c', 'b'] } };
  assert.deepEqual(strategicMergePatch(document, add), { metadata: { finalizers: ['c', 'a', 'b'] } });
  const order = { metadata: { '$setElementOrder/finalizers': ['c', 'b', 'a'], finalizers: ['c'] } };
  assert.deepEqual(strategicMergePatch(document, order), { metadata: { finalizers: ['c', 'b', 'a'] } });
});

const fails: readonly (readonly [name: string, patch: string, sentence: RegExp])[] = [
  [
    'element without its key',
    '{containers: [{name: a}, {image: x}]}',
    /at spec\.template\.spec\.containers\[1\]: it needs "name"/,
  ],
  ['deletion without its key', '{containers: [{$patch: delete}]}', /containers\[0\]: it needs "name"/],
  [
    'key of a nested list',
    '{containers: [{name: a, ports: [{name: web}]}]}',
    /containers\[name=a\]\.ports\[0\]: it needs "containerPort"/,
  ],
  ['element that is no map', '{containers: [a]}', /containers\[0\]: it must be a map/],
  [
    'unknown directive',
    '{securityContext: {$patch: remove}}',
    /securityContext\.\$patch: it must be delete, replace or merge/,
  ],
  [
    'unknown directive in a list',
    '{volumes: [{name: a, $patch: no}]}',
    /volumes\[name=a\]\.\$patch: it must be/,
  ],
  [
    '$patch replace with other fields',
    '{containers: [{name: a, $patch: replace}]}',
    /containers\[0\]: an element with "\$patch: replace" holds nothing else/,
  ],
  [
    'directive in a list that is replaced',
    '{tolerations: [{key: a, $patch: delete}]}',
    /tolerations\[0\]: this list is replaced as a whole/,
  ],
  [
    '$retainKeys without a field of the patch',
    '{securityContext: {$retainKeys: [a], b: 1}}',
    /securityContext: the patch sets "b", which \$retainKeys does not name/,
  ],
  ['$retainKeys that is no list', '{securityContext: {$retainKeys: a}}', /\$retainKeys must be a list/],
  [
    '$setElementOrder that is no list',
    '{$setElementOrder/volumes: a}',
    /volumes: \$setElementOrder\/ must be a list/,
  ],
  [
    '$setElementOrder without an element',
    '{$setElementOrder/volumes: [{name: a}], volumes: [{name: b}]}',
    /volumes: \$setElementOrder\/ must name every element of the patch/,
  ],
  [
    '$setElementOrder for a list that is replaced',
    '{$setElementOrder/tolerations: [{key: a}]}',
    /tolerations: only lists that are merged take \$setElementOrder\//,
  ],
  [
    '$deleteFromPrimitiveList that is no list',
    '{$deleteFromPrimitiveList/x: a}',
    /x: \$deleteFromPrimitiveList\/ must be a list/,
  ],
];

for (const [name, patch, sentence] of fails) {
  test(`fails: ${name}`, () => {
    assert.throws(
      () => strategicMergePatch(deployment({ containers: [{ name: 'a' }] }), deployment(parse(patch))),
      (error: unknown) =>
        error instanceof OffshootError &&
        error.code === 'fork/patch-failed' &&
        error.message.startsWith('patch: the strategic patch fails at ') &&
        sentence.test(error.message),
    );
  });
}

test('fails: the whole object deleted', () => {
  assert.throws(() => strategicMergePatch({ a: 1 }, { $patch: 'delete' }), {
    message: 'patch: the strategic patch fails at its top level: the whole object cannot be deleted',
  });
});
