import type { Decision } from '../../decide/decision.ts';
import type { SecretState } from '../../orchestrator/orchestrator.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { checkJson, checkLine, stepLabel } from '../describe.ts';
import { exit, type Exit } from '../exit.ts';
import { jsonTime } from '../output.ts';
import { namedSecrets } from '../secrets.ts';
import { dueWords, storeFailureLines } from './status.ts';

/** What `rotate` or `run` would do next, and why: decide without perform. */
export async function plan(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const { now: asIfNow } = options as { readonly now: boolean };
  return withOrchestrator(context, async (orchestrator, policy) => {
    const secrets = namedSecrets(policy, args, context.options);
    const states = await Promise.all(secrets.map(({ secret }) => orchestrator.look(secret, asIfNow)));
    const now = context.clock.now();
    context.output.result(
      states.flatMap((state) => planLines(state, now)),
      () => ({ format: 'keyturn.plan/1', secrets: states.map(planJson) }),
    );
    return exit.ok;
  });
}

function planLines(state: SecretState, now: number): readonly string[] {
  const { secret } = state.policy;
  if (state.live === null) {
    const words =
      state.keyring === null && state.seen.keyring.state === 'absent' ? 'no value yet' : dueWords(state.due, now);
    return [`${secret}: nothing under way; ${words}.`, ...storeFailureLines(state)];
  }
  const { next } = state.live;
  const checks = next.kind === 'wait' ? next.checks : [];
  return [
    `${secret}: step ${stepLabel(next.step)}; ${nextWords(next)}`,
    ...checks.map((check) => `  ${check.ok ? 'ok  ' : 'WAIT'}  ${checkLine(check, now)}`),
  ];
}

function nextWords(next: Decision): string {
  switch (next.kind) {
    case 'perform':
      return `next: ${next.effect}.`;
    case 'wait':
      return 'next: wait for these.';
    case 'end':
      return `next: end it as ${next.state}.`;
  }
}

function planJson({ policy, live, due }: SecretState): object {
  const next = live?.next ?? null;
  return {
    secret: policy.secret,
    step: next?.step ?? null,
    next:
      next === null ? null : next.kind === 'perform' ? { kind: 'perform', effect: next.effect } : { kind: next.kind },
    checks: next?.kind === 'wait' ? next.checks.map(checkJson) : [],
    due: { at: jsonTime(due.at), overdue: due.overdue },
  };
}
