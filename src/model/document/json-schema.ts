/** JSON Schemas of the documents, for editors. They know the shapes, not the rules across a document. */
import { z } from 'zod';
import { CLUSTER_RULES } from './fields.ts';
import { pluginSchema } from './plugin-schema.ts';
import { sandboxSchema } from './sandbox-schema.ts';

/** Content by path from the root of the repository; a test fails when a file has another. */
export function jsonSchemaFiles(): Readonly<Record<string, string>> {
  return {
    'docs/schema/sandbox.json': schemaText('Sandbox', sandboxSchema),
    'docs/schema/resource-plugin.json': schemaText('Resource plugin', pluginSchema),
  };
}

// --- internal -----------------------------------------------------------------------------------

function schemaText(title: string, schema: z.ZodType): string {
  const json = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => void delete jsonSchema[CLUSTER_RULES],
  });
  const text = JSON.stringify({ title, ...json }, undefined, 2);
  // The formatter of the repository writes lists of plain values in one line, where they fit.
  const short = text.replace(LIST, (whole, key: string, items: string, end: string) => {
    const line = `${key}[${items.replace(/\s+/g, ' ')}]${end}`;
    return line.length <= LINE_WIDTH ? line : whole;
  });
  return `${short}\n`;
}

const LIST = /^( *"[^"]*": )\[\s+("[^[\]{}]*")\s+\](,?)$/gm;
/** As in biome.json. */
const LINE_WIDTH = 110;
