/**
 * Pictures of docs/benchmarks.md from raw results: `node bench/plots.ts bench/results/FILE.json`. Bars on a logarithmic
 * axis, since what is compared lies between a millisecond and a minute; what others have published has another colour.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './home.ts';
import type { Row } from './statistics.ts';

/** Whose machine it was stands in docs/benchmarks.md: none was this one. Milliseconds until a new branch answers. */
const published = [
  { what: 'Neon (published)', ms: 1_000 },
  { what: 'pgbranch (published)', ms: 1_900 },
  { what: 'Velo (published)', ms: 6_300 },
  { what: 'Xata (published measurement)', ms: 44_000 },
];

type Bar = { readonly what: string; readonly ms: number; readonly others?: boolean };

/** An SVG of 760 points width that reads on light and on dark pages. */
export function bars(title: string, all: readonly Bar[]): string {
  const [left, width, line, top] = [320, 340, 26, 44];
  const most = Math.max(...all.map(({ ms }) => ms));
  const long = (ms: number) =>
    Math.max(1, (Math.log10(Math.max(1, ms)) / Math.log10(Math.max(10, most))) * width);
  const height = top + all.length * line + 10;
  const rows = all.flatMap(({ what, ms, others }, i) => {
    const y = top + i * line;
    return [
      `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${escaped(what)}</text>`,
      `<rect x="${left}" y="${y}" width="${long(ms).toFixed(1)}" height="18" rx="2" fill="${others ? '#9aa4b2' : '#2f7d5b'}"/>`,
      `<text x="${(left + long(ms) + 6).toFixed(1)}" y="${y + 14}">${said(ms)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 ${height}" width="760" height="${height}" role="img" aria-label="${escaped(title)}"`,
    '  font-family="system-ui, sans-serif" font-size="13" fill="#7a8494">',
    `<text x="10" y="22" font-size="15" font-weight="600">${escaped(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n');
}

// --- internal ------------------------------------------------------------------------------------

const said = (ms: number) =>
  ms < 1_000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1_000).toFixed(1)} s`;

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

function draw(file: string): void {
  const results = JSON.parse(readFileSync(file, 'utf8')) as Record<string, readonly Row[] | undefined>;
  const barsOf = (rows: readonly Row[] | undefined, wanted: RegExp): Bar[] =>
    (rows ?? []).flatMap(({ what, summary }) => (wanted.test(what) ? [{ what, ms: summary.p50 }] : []));
  const pictures = [
    {
      name: 'create.svg',
      title: 'until a new branch answers, median',
      all: [
        ...barsOf(results.branches, /^(create|CREATE)/),
        ...published.map(bar => ({ ...bar, others: true })),
      ],
    },
    {
      name: 'branchbench.svg',
      title: 'a step of BranchBench, median',
      all: barsOf(results.branchbench, /: step$/),
    },
  ];
  mkdirSync(join(root, 'docs/benchmarks'), { recursive: true });
  for (const { name, title, all } of pictures) {
    if (all.length === 0) continue;
    writeFileSync(join(root, 'docs/benchmarks', name), bars(title, all));
    console.log(`docs/benchmarks/${name}`);
  }
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (file === undefined) {
    console.error('which results? node bench/plots.ts bench/results/FILE.json');
    process.exit(2);
  }
  draw(file);
}
