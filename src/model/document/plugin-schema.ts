/**
 * The shape of the resource plugin document: Signadot's schema and our `uses:`. Unknown fields are errors.
 * Rules inside one object are here, rules across the document in plugin-rules.ts.
 */
import { z } from 'zod';
import { boundedText, envName, inCluster, line, list, longText, name, path, shortList } from './fields.ts';
import { pluginNameProblem } from './plugin-name.ts';

const ONE_SOURCE = 'an input needs exactly one of "valueFromSandbox: true" and valueFromStep';

const input = z
  .strictObject({
    name: name(30),
    type: boundedText(255).optional(),
    valueFromSandbox: z.boolean().optional(),
    valueFromStep: z.strictObject({ name: line, output: line }).optional(),
    as: z.strictObject({ env: envName.optional(), path: path.optional() }).optional(),
  })
  .refine(value => (value.valueFromSandbox === true) !== (value.valueFromStep !== undefined), ONE_SOURCE)
  .meta(
    inCluster({
      rule: '(has(self.valueFromSandbox) && self.valueFromSandbox) != has(self.valueFromStep)',
      message: ONE_SOURCE,
    }),
  );

const output = z.strictObject({
  name: name(30),
  description: boundedText(4096).optional(),
  type: boundedText(255).optional(),
  valueFromPath: path.optional(),
});

const ONE_ACTION = 'a step needs exactly one of script, uses';

const step = z
  .strictObject({
    name: name(30),
    script: longText.min(1, 'must not be empty').optional(),
    uses: z.enum(['branch/create', 'branch/delete']).optional(),
    inputs: list(input).optional(),
    outputs: list(output).optional(),
  })
  .refine(value => (value.script === undefined) !== (value.uses === undefined), ONE_ACTION)
  .meta(inCluster({ rule: 'has(self.script) != has(self.uses)', message: ONE_ACTION }));

const pluginName = z.string().superRefine((value, issues) => {
  const message = pluginNameProblem(value, { latest: false });
  if (message !== undefined) issues.addIssue({ code: 'custom', message });
});

export const pluginSchema = z.strictObject({
  name: pluginName,
  spec: z.strictObject({
    description: boundedText(255).optional(),
    runner: z
      .strictObject({
        image: line.optional(),
        namespace: line.optional(),
        podTemplateOverlay: longText.optional(),
      })
      .optional(),
    create: shortList(step).optional(),
    delete: shortList(step).optional(),
  }),
});

export type PluginDocument = z.infer<typeof pluginSchema>;
