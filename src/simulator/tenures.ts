import type { Lease } from '../ports/journal.ts';
import type { Verdict } from './checks.ts';

/** Whose a lease is, as far as the world knows. */
interface Tenure {
  readonly pid: number;
  readonly token: number;
  readonly expiresAt: number;
}

/** What the leases of all journals promise: at any moment one process alone moves a secret's run. */
export class Tenures {
  readonly #verdict: Verdict;
  readonly #now: () => number;
  readonly #isDead: (pid: number) => boolean;
  readonly #held = new Map<string, Tenure>();

  constructor(verdict: Verdict, now: () => number, isDead: (pid: number) => boolean) {
    this.#verdict = verdict;
    this.#now = now;
    this.#isDead = isDead;
  }

  took(journal: string, pid: number, lease: Lease): void {
    const place = placeOf(journal, lease);
    const before = this.#held.get(place);
    if (before !== undefined && this.#isRunning(before) && !this.#isDead(before.pid)) {
      this.#verdict.fail(
        'I3',
        `Process ${String(pid)} was given ${lease.name} while process ${String(before.pid)} had it.`,
      );
    }
    if (before !== undefined && lease.token <= before.token) {
      this.#verdict.fail(
        'I3',
        `The lease on ${lease.name} has token ${String(lease.token)}, and had ${String(before.token)}.`,
      );
    }
    this.#hold(journal, pid, lease);
  }

  renewed(journal: string, pid: number, lease: Lease): void {
    this.wrote(journal, pid, lease);
    this.#hold(journal, pid, lease);
  }

  gaveBack(journal: string, pid: number, lease: Lease): void {
    const place = placeOf(journal, lease);
    if (this.#held.get(place)?.pid === pid) this.#held.delete(place);
  }

  /** Something was written under that lease. */
  wrote(journal: string, pid: number, lease: Lease): void {
    const held = this.#held.get(placeOf(journal, lease));
    const isOwn = held?.pid === pid && held.token === lease.token;
    if (isOwn && this.#isRunning(held)) return;
    const why = isOwn ? 'ran out' : held === undefined ? 'nobody has' : `process ${String(held.pid)} has`;
    this.#verdict.fail('I3', `Process ${String(pid)} wrote under a lease on ${lease.name} that ${why}.`);
  }

  #hold(journal: string, pid: number, { expiresAt, token, name }: Lease): void {
    this.#held.set(placeOf(journal, { name }), { pid, token, expiresAt });
  }

  #isRunning({ expiresAt }: Tenure): boolean {
    return this.#now() < expiresAt;
  }
}

function placeOf(journal: string, { name }: Pick<Lease, 'name'>): string {
  return `${journal} ${name}`;
}
