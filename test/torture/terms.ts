/** What the upstream of the torture promises, and does; the policy says the same with what a busy machine needs. */

export const upstreamToken = 'tok/en+torture=91c0ffee';

/** One attempt to deliver takes no longer, ms. */
export const attemptMs = 1_900;

/** A delivery that failed is sent again after this long, ms. */
export const retryEveryMs = 300;

/** So old no delivery is sent again, ms. */
export const givesUpAfterMs = 7_500;

/** So old no attempt arrives any more, ms: what the policy states. */
export const retryHorizonMs = 10_000;
