/**
 * The custom resource definitions: one for each kind of the table in kinds.ts, made from the schemas by which documents are
 * read everywhere. `npm run check -- --write` renews the files.
 */
import type { z } from 'zod';
import type { ClusterRule } from '../model/document/fields.ts';
import { pluginSchema } from '../model/document/plugin-schema.ts';
import { sandboxSchema } from '../model/document/sandbox-schema.ts';
import { yaml } from '../model/yaml-package.ts';
import { clusterKinds, group, type KeptKind, keptKinds, version } from './kinds.ts';
import { branchSchema, keySchema, projectSchema, tombstoneSchema } from './record-schema.ts';
import { type Structural, structural } from './structural.ts';

export type PrinterColumn = {
  readonly name: string;
  readonly type: 'string' | 'date' | 'integer';
  readonly jsonPath: string;
  /** 0 (default): always shown; 1: with `-o wide`. */
  readonly priority?: number;
};

export type CustomResourceDefinition = {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: 'Namespaced';
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames?: readonly string[];
      readonly categories: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: true;
      readonly storage: true;
      readonly subresources?: { readonly status: object };
      readonly additionalPrinterColumns: readonly PrinterColumn[];
      readonly schema: { readonly openAPIV3Schema: Structural };
    }[];
  };
};

export function customResourceDefinition(kept: KeptKind): CustomResourceDefinition {
  const { kind, plural, singular, shortNames, status } = clusterKinds[kept];
  const { about, spec, specRules = [], rules = [], columns } = shapes[kept];
  const specSchema = structural(spec);
  const schema: Structural = {
    type: 'object',
    description: about,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: { ...specSchema, ...(specRules.length > 0 && { 'x-kubernetes-validations': specRules }) },
      ...(status && { status: statusSchema }),
    },
    ...(rules.length > 0 && { 'x-kubernetes-validations': rules }),
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        ...{ kind, listKind: `${kind}List`, plural, singular },
        ...(shortNames.length > 0 && { shortNames }),
        categories: ['offshoot'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          ...(status && { subresources: { status: {} } }),
          additionalPrinterColumns: [...columns, age],
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}

/** Content by path from the root of the repository. */
export function crdFiles(): Readonly<Record<string, string>> {
  return Object.fromEntries(
    keptKinds.map(kept => {
      const text = yaml().stringify(customResourceDefinition(kept), {
        lineWidth: 0,
        aliasDuplicateObjects: false,
      });
      return [`charts/offshoot/crds/${clusterKinds[kept].plural}.yaml`, `${HEAD}${text}`];
    }),
  );
}

// --- internal -----------------------------------------------------------------------------------

const HEAD = '# Made from src/kubernetes/crd.ts by "npm run check -- --write".\n';

type Shape = {
  /** For `kubectl explain`. */
  readonly about: string;
  readonly spec: z.ZodType;
  readonly specRules?: readonly ClusterRule[];
  /** About the whole object. Of its metadata API servers show rules the name only. */
  readonly rules?: readonly ClusterRule[];
  /** Beside name and age. */
  readonly columns: readonly PrinterColumn[];
};

const text = (name: string, jsonPath: string, priority?: number): PrinterColumn => ({
  ...{ name, type: 'string', jsonPath },
  ...(priority !== undefined && { priority }),
});
const age: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

const NAME = 'self.metadata.name';
const NAME_RULE = 'only lowercase letters, digits and hyphens are allowed, a letter first and no hyphen last';
/** A sentence on a name in CEL, with the words of model/names.ts. */
const notAName = (what: string, problem: string) =>
  `'"' + ${NAME} + '" is not a ${what} name: ' + ${problem}`;
const labelRules = (what: string, max: number): readonly ClusterRule[] => [
  {
    rule: `${NAME}.size() <= ${max}`,
    messageExpression: notAName(what, `'it has more than ${max} characters'`),
  },
  {
    rule: `${NAME}.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')`,
    messageExpression: notAName(what, `'${NAME_RULE}'`),
  },
];

const shapes: Readonly<Record<KeptKind, Shape>> = {
  sandbox: {
    about: 'Forks, resources and endpoints under one routing key. Its spec is that of a sandbox document.',
    spec: sandboxSchema.shape.spec,
    specRules: [
      { rule: 'self.cluster == oldSelf.cluster', message: 'cluster cannot be changed after creation' },
    ],
    rules: [
      ...labelRules('sandbox', 30),
      {
        rule: `!${NAME}.contains('--')`,
        messageExpression: notAName(
          'sandbox',
          `'it contains "--", which separates endpoint and sandbox in preview hosts'`,
        ),
      },
    ],
    columns: [
      text('Ready', '.status.conditions[?(@.type=="Ready")].status'),
      text('Reason', '.status.reason'),
      text('URL', '.status.endpoints[0].url'),
      text('Message', '.status.message', 1),
    ],
  },
  plugin: {
    about:
      'What makes a resource for a sandbox, in steps, and takes it away. Its spec is that of a resource plugin document; its name is NAME, or NAME.1.2.0 for version 1.2.0.',
    spec: pluginSchema.shape.spec,
    rules: [
      {
        rule: `${NAME}.matches('^[a-z]([a-z0-9-]*[a-z0-9])?(\\\\.(0|[1-9][0-9]*)\\\\.(0|[1-9][0-9]*)\\\\.(0|[1-9][0-9]*)(-[0-9a-z.-]+)?)?$')`,
        messageExpression: notAName(
          'plugin',
          `'${NAME_RULE}; a version comes after a dot, as in users-db.1.2.0'`,
        ),
      },
    ],
    columns: [text('Description', '.spec.description')],
  },
  project: {
    about: 'One PostgreSQL cluster with the tree of branches that is grown from it.',
    spec: projectSchema,
    specRules: [
      {
        rule: '!has(oldSelf.node) || (has(self.node) && self.node == oldSelf.node)',
        message: 'a project stays on the branch node that holds its data',
      },
    ],
    rules: labelRules('project', 63),
    columns: [text('Database', '.spec.database'), text('Role', '.spec.role'), text('Node', '.spec.node')],
  },
  branch: {
    about: 'A copy-on-write volume with a PostgreSQL server on it.',
    spec: branchSchema,
    columns: [
      text('Project', '.spec.project'),
      text('Branch', '.spec.name'),
      text('Ready', '.status.conditions[?(@.type=="Ready")].status'),
      text('State', '.status.state'),
      text('Owner', '.spec.owner'),
      text('Parent', '.spec.parent', 1),
      text('Message', '.status.message', 1),
    ],
  },
  tombstone: {
    about: 'A sandbox that was deleted, by its routing key, which leads nowhere for as long as this is here.',
    spec: tombstoneSchema,
    columns: [text('Sandbox', '.spec.sandbox')],
  },
  key: {
    about: 'A key of the API: only its hash is known.',
    spec: keySchema,
    columns: [text('Label', '.spec.label'), text('Key', '.spec.preview')],
  },
};

/** A cache that only we write, so its parts are our own affair, except for what kubectl and GitOps tools read. */
const statusSchema: Structural = {
  type: 'object',
  description: 'What was last seen. Never a secret.',
  properties: {
    observedGeneration: { type: 'integer', format: 'int64' },
    reason: { type: 'string' },
    message: { type: 'string' },
    conditions: {
      type: 'array',
      items: {
        type: 'object',
        required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
        properties: {
          type: { type: 'string' },
          status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
          reason: { type: 'string' },
          message: { type: 'string' },
          lastTransitionTime: { type: 'string', format: 'date-time' },
          observedGeneration: { type: 'integer', format: 'int64' },
        },
      },
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
    },
  },
  'x-kubernetes-preserve-unknown-fields': true,
};
