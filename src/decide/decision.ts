import type { Check } from '../model/check.ts';
import type { ErrorCode } from '../model/errors.ts';
import type { EffectKind, Step } from '../model/run.ts';

/** Why waiting alone will not do, or did not: an error to show, with its code. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
  /** True when the next try may go well without anybody doing anything. */
  readonly retryable: boolean;
}

export interface Wait {
  readonly kind: 'wait';
  readonly step: Step;
  /** The whole gate; at least one check fails. */
  readonly checks: readonly Check[];
  readonly problem: Problem | null;
}

export interface End {
  readonly kind: 'end';
  readonly step: Step;
  readonly state: 'completed' | 'aborted';
  readonly message: string;
  readonly problem: Problem | null;
}

export interface Perform {
  readonly kind: 'perform';
  readonly step: Step;
  readonly effect: EffectKind;
}

export type Decision = Perform | Wait | End;
