/**
 * The shape of the resource plugin document: Signadot's schema and our `uses:`. Unknown fields are errors.
 * Rules inside one object are here, rules across the document in plugin-rules.ts.
 */
import { z } from 'zod';
import { boundedText, envName, name, path, shortList, text } from './fields.ts';
import { pluginNameProblem } from './plugin-name.ts';

const input = z
  .strictObject({
    name: name(30),
    type: z.string().optional(),
    valueFromSandbox: z.boolean().optional(),
    valueFromStep: z.strictObject({ name: text, output: text }).optional(),
    as: z.strictObject({ env: envName.optional(), path: path.optional() }).optional(),
  })
  .refine(
    value => (value.valueFromSandbox === true) !== (value.valueFromStep !== undefined),
    'an input needs exactly one of "valueFromSandbox: true" and valueFromStep',
  );

const output = z.strictObject({
  name: name(30),
  description: z.string().optional(),
  type: z.string().optional(),
  valueFromPath: path.optional(),
});

const step = z
  .strictObject({
    name: name(30),
    script: text.optional(),
    uses: z.enum(['branch/create', 'branch/delete']).optional(),
    inputs: z.array(input).optional(),
    outputs: z.array(output).optional(),
  })
  .refine(
    value => (value.script === undefined) !== (value.uses === undefined),
    'a step needs exactly one of script, uses',
  );

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
        image: text.optional(),
        namespace: text.optional(),
        podTemplateOverlay: z.string().optional(),
      })
      .optional(),
    create: shortList(step).optional(),
    delete: shortList(step).optional(),
  }),
});

export type PluginDocument = z.infer<typeof pluginSchema>;
