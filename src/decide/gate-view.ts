import type { Keyring } from '../model/keyring.ts';
import type { Run } from '../model/run.ts';
import type { UsageEvidence } from '../ports/usage-log.ts';
import type { RosterEntry } from './evidence.ts';
import type { Leg } from './leg.ts';

/** What the gates of one run are judged by. */
export interface GateView {
  readonly run: Run;
  readonly leg: Leg;
  readonly keyring: Keyring;
  readonly evidence: UsageEvidence;
  readonly roster: readonly RosterEntry[];
  /** The orchestrator's clock, epoch ms. */
  readonly now: number;
}
