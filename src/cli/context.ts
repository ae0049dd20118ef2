import type { Policy } from '../model/policy.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import type { Examination } from '../ports/examination.ts';
import type { Log } from '../ports/log.ts';
import type { RedactingLog } from '../ports/redact.ts';
import type { Clock, Random } from '../ports/system.ts';
import type { Output } from './output.ts';

export interface OpenedOrchestrator {
  readonly orchestrator: Orchestrator;
  readonly close: () => Promise<void>;
}

/** What the CLI is handed by `bin/keyturn.ts`: it knows no provider itself. */
export interface Providers {
  readonly loadPolicy: (
    file: string | undefined,
  ) => Promise<{ readonly policy: Policy; readonly warnings: readonly string[] }>;
  /** Environment variables and files that the policy refers to and that cannot be read, one sentence each. */
  readonly missingCredentials: (policy: Policy) => Promise<readonly string[]>;
  /** All that the policy names, to be looked at one by one; nothing is opened yet. */
  readonly openExamination: (policy: Policy, log: Log) => Promise<Examination>;
  /** `command` is for the audit trail. */
  readonly openOrchestrator: (policy: Policy, log: Log, command: string) => Promise<OpenedOrchestrator>;
}

export interface GlobalOptions {
  readonly policy?: string;
  readonly env?: string;
  readonly tenant?: string;
  readonly json?: true;
  readonly quiet?: true;
  readonly verbose?: true;
  readonly color?: boolean;
}

/** What every command gets. */
export interface Context {
  /** The name of the command. */
  readonly command: string;
  readonly providers: Providers;
  readonly options: GlobalOptions;
  readonly output: Output;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** The log for `--verbose`; silent without it. */
  readonly log: RedactingLog;
}

/** Opens the orchestrator for one command and closes it afterwards, whatever happens. */
export async function withOrchestrator<T>(
  context: Context,
  work: (orchestrator: Orchestrator, policy: Policy) => Promise<T>,
): Promise<T> {
  const { policy } = await context.providers.loadPolicy(context.options.policy);
  const opened = await context.providers.openOrchestrator(policy, context.log, context.command);
  try {
    return await work(opened.orchestrator, policy);
  } finally {
    await opened.close();
  }
}
