/** What is counted in a world, and added up over many. */
export interface Tally {
  rotations: number;
  completed: number;
  aborted: number;
  superseded: number;
  messages: number;
  delivered: number;
  /** Answered "try again" at least once, and delivered later. */
  deliveredLater: number;
  /** Valid, and refused at a known price: under compromise, by a hand at the upstream, or where the policy ignores retries. */
  refusedAtAPrice: number;
  /** Neither refused nor delivered: no receiver was reached, and the upstream does not try again. */
  lost: number;
  forged: number;
  /** What people had to do, by what it was. */
  people: Record<string, number>;
  longestTwoKeysMs: number;
  longestWaitMs: number;
  /** The check that the longest wait was for. */
  longestWaitFor: string | null;
  events: number;
  virtualMs: number;
}

export function emptyTally(): Tally {
  return {
    ...{ rotations: 0, completed: 0, aborted: 0, superseded: 0 },
    ...{ messages: 0, delivered: 0, deliveredLater: 0, refusedAtAPrice: 0, lost: 0, forged: 0 },
    ...{ people: {}, longestTwoKeysMs: 0, longestWaitMs: 0, longestWaitFor: null, events: 0, virtualMs: 0 },
  };
}

/** Adds the second to the first. */
export function addTally(sum: Tally, other: Tally): void {
  const counts = [
    'rotations',
    'completed',
    'aborted',
    'superseded',
    'messages',
    'delivered',
    'deliveredLater',
  ] as const;
  for (const name of [...counts, 'refusedAtAPrice', 'lost', 'forged', 'events', 'virtualMs'] as const) {
    sum[name] += other[name];
  }
  for (const [what, count] of Object.entries(other.people)) sum.people[what] = (sum.people[what] ?? 0) + count;
  sum.longestTwoKeysMs = Math.max(sum.longestTwoKeysMs, other.longestTwoKeysMs);
  if (other.longestWaitMs > sum.longestWaitMs) {
    sum.longestWaitMs = other.longestWaitMs;
    sum.longestWaitFor = other.longestWaitFor;
  }
}
