/** Two texts side by side, as `diff -u` shows them. */

/** Cells of the table of common lines; beyond it everything between the first and the last change is shown as changed. */
const maxCells = 4_000_000;

/**
 * @param context lines around each change
 * @returns lines with ` `, `-` or `+` before them, and `@@ -line +line @@` before each part; empty when nothing differs
 */
export function lineDiff(before: string, after: string, context = 3): readonly string[] {
  const [a, b] = [linesOf(before), linesOf(after)];
  const steps = compare(a, b);
  const near = new Set<number>();
  for (const [i, { mark }] of steps.entries())
    if (mark !== ' ') for (let j = i - context; j <= i + context; j++) near.add(j);
  const out: string[] = [];
  let [lineA, lineB, shown] = [1, 1, false];
  for (const [i, { mark, text }] of steps.entries()) {
    if (near.has(i)) {
      if (!shown) out.push(`@@ -${lineA} +${lineB} @@`);
      out.push(`${mark}${text}`);
    }
    shown = near.has(i);
    if (mark !== '+') lineA++;
    if (mark !== '-') lineB++;
  }
  return out;
}

// --- internal -----------------------------------------------------------------------------------

type Step = { readonly mark: ' ' | '-' | '+'; readonly text: string };

const linesOf = (text: string): readonly string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

function compare(a: readonly string[], b: readonly string[]): readonly Step[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const same = (text: string): Step => ({ mark: ' ', text });
  return [
    ...a.slice(0, start).map(same),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...a.slice(a.length - end).map(same),
  ];
}

/** By the longest common subsequence. */
function middle(a: readonly string[], b: readonly string[]): readonly Step[] {
  const out: Step[] = [];
  const width = b.length + 1;
  if (a.length * b.length > maxCells)
    return [...a.map((text): Step => ({ mark: '-', text })), ...b.map((text): Step => ({ mark: '+', text }))];
  /** Length of the longest common part of what is left of both. */
  const left = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      left[i * width + j] =
        a[i] === b[j]
          ? left[(i + 1) * width + j + 1]! + 1
          : Math.max(left[(i + 1) * width + j]!, left[i * width + j + 1]!);
    }
  }
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ mark: ' ', text: a[i]! });
      [i, j] = [i + 1, j + 1];
    } else if (j === b.length || (i < a.length && left[(i + 1) * width + j]! >= left[i * width + j + 1]!)) {
      out.push({ mark: '-', text: a[i++]! });
    } else out.push({ mark: '+', text: b[j++]! });
  }
  return out;
}
