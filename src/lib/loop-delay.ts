/** How long the event loop kept others waiting, by a clock that ticks every few milliseconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds from one tick to the next: at least as long as whatever blocked the loop meanwhile, 10 when nothing did. */
export type LoopDelay = {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Ticks so far. */
  readonly count: number;
};

export type LoopDelayMeter = {
  read(): LoopDelay;
  /** Forgets what was measured. */
  reset(): void;
  close(): void;
};

export function measureLoopDelay(): LoopDelayMeter {
  const histogram = monitorEventLoopDelay({ resolution: TICK_MS });
  histogram.enable();
  const ms = (nanoseconds: number) => Math.round(nanoseconds / 1e4) / 100;
  return {
    read() {
      const { count } = histogram;
      if (count === 0) return { p50: 0, p99: 0, max: 0, count };
      return {
        p50: ms(histogram.percentile(50)),
        p99: ms(histogram.percentile(99)),
        max: ms(histogram.max),
        count,
      };
    },
    reset: () => histogram.reset(),
    close: () => void histogram.disable(),
  };
}

// --- internal -----------------------------------------------------------------------------------

const TICK_MS = 10;
