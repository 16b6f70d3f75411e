/** Whether this machine's clock is right, by that of the API server: certificates and times to live are measured by it. */
import type { ClusterClient } from '../kubernetes/client.ts';

/** @returns what is wrong with it, in a sentence; none when nothing is */
export function clockProblem(client: Pick<ClusterClient, 'behindMs'>): readonly string[] {
  const minutes = Math.round(client.behindMs() / 60_000);
  if (Math.abs(minutes) < MOST_MINUTES) return [];
  const how = `${Math.abs(minutes)} minutes ${minutes > 0 ? 'behind' : 'ahead of'}`;
  return [
    `the clock of this machine is ${how} the API server's: certificates may not be good yet, or not any more, and times to live end at another time; see to it that both ask the same time server`,
  ];
}

// --- internal ------------------------------------------------------------------------------------

/** A certificate of ours is good from a quarter of an hour before it is made. */
const MOST_MINUTES = 2;
