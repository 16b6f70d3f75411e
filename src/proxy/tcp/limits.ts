/** What passes through may take. Times in milliseconds. */
export type PassLimits = {
  /** Connections at once, all ports together; each takes two descriptors. */
  readonly connections: number;
  /** Until a workload has accepted a connection. */
  readonly connectMs: number;
  /** A client's silence at a port where HTTP was seen, until the workload is asked whether it wants to speak first. */
  readonly silenceMs: number;
  /** For a client to say enough to be understood, where nobody else can speak. */
  readonly firstBytesMs: number;
};

export const defaultPassLimits: PassLimits = {
  connections: 10_000,
  connectMs: 5_000,
  silenceMs: 250,
  firstBytesMs: 10_000,
};

/** Silence on a connection after which its peer is probed. */
export const KEEP_ALIVE_MS = 60_000;
