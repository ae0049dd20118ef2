import {
  arrivedReceiver,
  byIdentity,
  changedHoldings,
  departedAt,
  evidenceOf,
  foldInto,
  newestStampOf,
  type StoredHolding,
  type StoredReceiver,
} from '../decide/arrival.ts';
import { clockFinding, ok } from '../ports/probe.ts';
import type { ProbeFinding } from '../ports/secret-store.ts';
import type { Clock } from '../ports/system.ts';
import type { ReceiverEvidence, UsageEvidence, UsageLog, UsageReport } from '../ports/usage-log.ts';

export interface MemoryUsageLogOptions {
  readonly clock: Clock;
}

/** A usage log that ends with its process: for tests, simulations, and a fleet of one. */
export function createMemoryUsageLog(options: MemoryUsageLogOptions): UsageLog {
  return new MemoryUsageLog(options);
}

interface Entry {
  receiver: StoredReceiver;
  readonly holdings: Map<string, StoredHolding>;
}

class MemoryUsageLog implements UsageLog {
  readonly label = 'memory';
  readonly #clock: Clock;
  /** By instance. */
  readonly #entries = new Map<string, Entry>();
  /** By secret. */
  readonly #folds = new Map<string, ReceiverEvidence>();

  constructor({ clock }: MemoryUsageLogOptions) {
    this.#clock = clock;
  }

  async report(report: UsageReport): Promise<void> {
    const arrival = this.#clock.now();
    const known = this.#entries.get(report.instance);
    const holdings = known?.holdings ?? new Map<string, StoredHolding>();
    for (const [secret, holding] of changedHoldings(holdings, known?.receiver ?? null, report, arrival)) {
      holdings.set(secret, holding);
    }
    this.#entries.set(report.instance, {
      receiver: arrivedReceiver(known?.receiver ?? null, report, arrival),
      holdings,
    });
  }

  async evidence(secret: string): Promise<UsageEvidence> {
    const entries = [...this.#entries.values()];
    const receivers = entries
      .flatMap(({ receiver, holdings }) => {
        const holding = holdings.get(secret);
        return holding === undefined ? [] : [evidenceOf(receiver, holding)];
      })
      .sort(byIdentity);
    const fold = this.#folds.get(secret);
    return {
      now: this.#clock.now(),
      newestStampAt: newestStampOf([...entries.map((entry) => entry.receiver), ...this.#folds.values()]),
      receivers: fold === undefined ? receivers : [...receivers, fold],
    };
  }

  async forget(receiver: string): Promise<number> {
    const now = this.#clock.now();
    const meant = [...this.#entries.values()].filter(
      (entry) =>
        entry.receiver.signedOffAt === null && (entry.receiver.id === receiver || entry.receiver.instance === receiver),
    );
    for (const entry of meant) {
      entry.receiver = { ...entry.receiver, forgottenAt: entry.receiver.forgottenAt ?? now };
    }
    return meant.length;
  }

  async prune(before: number): Promise<void> {
    for (const [instance, { receiver, holdings }] of this.#entries) {
      const departed = departedAt(receiver);
      if (departed === null || departed >= before) continue;
      for (const [secret, holding] of holdings) {
        this.#folds.set(secret, foldInto(this.#folds.get(secret) ?? null, evidenceOf(receiver, holding)));
      }
      this.#entries.delete(instance);
    }
  }

  async probe(): Promise<readonly ProbeFinding[]> {
    const { newestStampAt, now } = await this.evidence('');
    return [ok('integrity', 'It is in this process.'), clockFinding(newestStampAt, now)];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
