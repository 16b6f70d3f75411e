/**
 * Progress of something that consists of named steps: redrawn in place on a terminal, plain lines
 * elsewhere (one when a step ends, and one before when it has run for half a second).
 */
import type { Cli } from './context.ts';
import { legible } from './legible.ts';
import { took } from './output.ts';

export type ProgressStep = {
  readonly label: string;
  readonly state: 'waiting' | 'running' | 'done' | 'failed';
  readonly detail?: string;
  /** Milliseconds, where somebody measured better than we can from here. */
  readonly ms?: number;
};

export type Progress = {
  show(steps: readonly ProgressStep[]): void;
  end(): void;
};

const marks = { waiting: '·', running: '…', done: '✓', failed: '✗' } as const;

/** @param lateMs what ends sooner has no line of its beginning, elsewhere than on a terminal */
export function createProgress({ stderr }: Cli, { lateMs = 500 } = {}): Progress {
  const begun = new Map<string, number>();
  const ended = new Map<string, number>();
  const said = new Map<string, string>();
  let steps: readonly ProgressStep[] = [];
  let drawn = 0;
  let late: NodeJS.Timeout | undefined;

  const line = (step: ProgressStep): string => {
    const start = begun.get(step.label);
    const now = ended.get(step.label) ?? performance.now();
    const ms = step.ms ?? (start === undefined ? undefined : now - start);
    const time = ms === undefined || Math.round(ms) === 0 || step.state === 'waiting' ? '' : ` (${took(ms)})`;
    const detail = step.detail === undefined || step.state === 'done' ? '' : `: ${step.detail}`;
    return legible(`  ${marks[step.state]} ${step.label}${detail}${time}`);
  };

  /** @param all also more than the terminal has rows: it is drawn over no more */
  const draw = (all = false): void => {
    const width = Math.max(1, (stderr.columns || 80) - 1);
    const most = Math.max(2, (stderr.rows || 24) - 1);
    const lines = (all ? steps.map(line) : fitting(steps, most, line)).map(l => l.slice(0, width));
    const up = drawn > 0 ? `\x1b[${drawn}A` : '';
    stderr.write(`${up}\x1b[0J${lines.map(l => `${l}\n`).join('')}`);
    drawn = lines.length;
  };

  const timer = stderr.isTTY ? setInterval(() => steps.length > 0 && draw(), 100) : undefined;
  timer?.unref();

  const print = (): void => {
    for (const step of steps) {
      if (step.state === 'waiting' || said.get(step.label) === step.state) continue;
      if (step.state === 'running' && performance.now() - begun.get(step.label)! < lateMs) {
        late ??= setTimeout(() => {
          late = undefined;
          print();
        }, lateMs).unref();
        continue;
      }
      said.set(step.label, step.state);
      stderr.write(`${line(step)}\n`);
    }
  };

  return {
    show(next) {
      steps = next;
      for (const { label, state } of next) {
        if (state !== 'waiting' && !begun.has(label)) begun.set(label, performance.now());
        if ((state === 'done' || state === 'failed') && !ended.has(label))
          ended.set(label, performance.now());
        if (state === 'running') ended.delete(label);
      }
      if (stderr.isTTY) return draw();
      print();
    },
    end() {
      clearInterval(timer);
      clearTimeout(late);
      if (stderr.isTTY && steps.length > 0) draw(true);
    },
  };
}

/** Of more steps than there are rows those that matter most at the moment, in their order, and how many others there are. */
function fitting(
  steps: readonly ProgressStep[],
  rows: number,
  line: (step: ProgressStep) => string,
): readonly string[] {
  if (steps.length <= rows) return steps.map(line);
  const shown = new Set(steps.toSorted((a, b) => weight[a.state] - weight[b.state]).slice(0, rows - 1));
  const others = steps.filter(step => !shown.has(step));
  const done = others.filter(step => step.state === 'done').length;
  return [
    ...steps.filter(step => shown.has(step)).map(line),
    `  and ${others.length} more, ${done} of them done`,
  ];
}

const weight = { failed: 0, running: 1, waiting: 2, done: 3 } as const;
