/**
 * Stacks name lines of the sources also when a bundle runs. Not `--enable-source-maps`: that reads all maps at each start, this one
 * of them (some 10 ms) when the first stack is asked for that has been there.
 */
import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { bundled, modules, root } from './checkout.ts';

/** For a program to call before anything can fail. */
export function nameSourceLines(): void {
  if (!bundled) return;
  const maps = new Map<string, SourceMap | undefined>();
  const sourceOf = (file: string, line: number, column: number): string | undefined => {
    if (!maps.has(file)) maps.set(file, readMap(file));
    const found = maps.get(file)?.findOrigin(line, column);
    if (found === undefined || !('fileName' in found) || found.fileName === undefined) return undefined;
    const source = relative(root, join(dirname(file), found.fileName));
    return `${join(root, source)}:${found.lineNumber}:${found.columnNumber}`;
  };
  // As Node writes it, but for the places: https://v8.dev/docs/stack-trace-api
  Error.prepareStackTrace = (error, sites) => {
    const lines = sites.map(site => {
      const text = String(site);
      const [file, line, column] = [site.getFileName(), site.getLineNumber(), site.getColumnNumber()];
      if (!file || line === null || column === null || dirname(file) !== modules) return text;
      const source = sourceOf(file, line, column);
      return source === undefined ? text : text.replace(`${file}:${line}:${column}`, source);
    });
    return [headOf(error), ...lines.map(line => `    at ${line}`)].join('\n');
  };
}

// --- internal -----------------------------------------------------------------------------------

function readMap(file: string): SourceMap | undefined {
  try {
    const text = readFileSync(join(modules, `${basename(file)}.map`), 'utf8');
    return new SourceMap(JSON.parse(text) as SourceMapPayload);
  } catch {
    return undefined; // of a package, or the folder is gone: then the place in the bundle must do
  }
}

function headOf(error: Error): string {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return 'Error';
  }
}
