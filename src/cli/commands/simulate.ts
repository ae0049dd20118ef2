import { formatDuration } from '../../model/duration.ts';
import type { SecretPolicy } from '../../model/policy.ts';
import { invariantWords } from '../../simulator/checks.ts';
import { faultWords, type FaultLevel } from '../../simulator/schedule.ts';
import { simulate, type Found, type Simulation } from '../../simulator/simulate.ts';
import { addTally, emptyTally, type Tally } from '../../simulator/tally.ts';
import { worldTime } from '../../simulator/trace.ts';
import { requireWorld } from '../../simulator/upstreams/worlds.ts';
import type { Context } from '../context.ts';
import { exit, exitOfSignal, type Exit } from '../exit.ts';
import { namedSecrets } from '../secrets.ts';

interface Flags {
  readonly runs?: number;
  readonly seed?: number;
  readonly faults: FaultLevel;
  readonly trace: boolean;
}

const usualRuns = 100;

/** How often progress is told, ms. */
const tellEveryMs = 1_000;

/** Secrets of one policy: what is simulated of the first holds for all. */
interface Alike {
  readonly policy: SecretPolicy;
  readonly secrets: readonly string[];
  readonly runs: number;
}

/** Many rotations of these secrets, each under its own policy in a world where much goes wrong. Touches nothing outside. */
export async function simulateSecrets(context: Context, args: readonly string[], options: object): Promise<Exit> {
  const flags = options as Flags;
  const { policy } = await context.providers.loadPolicy(context.options.policy);
  const secrets = namedSecrets(policy, args, context.options);
  for (const secret of secrets) requireWorld(secret);
  const groups = shared(alike(secrets), flags.runs ?? (flags.trace ? 1 : usualRuns));
  const seed = flags.seed ?? Number.parseInt(Buffer.from(context.random.bytes(4)).toString('hex'), 16);
  const trace: string[] = [];
  const tell = (line: string): void => {
    if (context.output.json) trace.push(line);
    else context.output.result(line, () => ({}));
  };
  const meter = new Meter(
    context,
    groups.reduce((sum, { runs }) => sum + runs, 0),
  );
  const done: { readonly group: Alike; readonly simulation: Simulation }[] = [];
  for (const group of groups) {
    if (context.signal.aborted || done.some(({ simulation }) => simulation.found !== null)) break;
    const { runs } = group;
    const simulation = await simulate(group.policy, {
      ...{ runs, seed, faults: flags.faults, signal: context.signal, trace: flags.trace ? tell : undefined },
      onRun: async ({ runs: ended, tally }) => {
        // The event loop turns, so that Ctrl-C is heard.
        await context.clock.sleep(0);
        if (!flags.trace) meter.tell(ended, tally.events);
      },
    });
    meter.next(simulation);
    done.push({ group, simulation });
  }
  const simulations = done.map(({ simulation }) => simulation);
  context.output.result(
    [...summaryLines(simulations, seed, flags), ...done.flatMap(({ group, simulation }) => lines(group, simulation))],
    () => ({
      format: 'keyturn.simulation/1',
      ...{ seed, faults: flags.faults, interrupted: context.signal.aborted },
      secrets: done.map(({ group, simulation }) => simulationJson(group, simulation)),
      ...(flags.trace ? { trace } : {}),
    }),
  );
  if (simulations.some(({ found }) => found !== null)) return exit.failed;
  return context.signal.aborted ? exitOfSignal(context.signal.reason) : exit.ok;
}

/** How fast it goes, told now and then. */
class Meter {
  readonly #context: Context;
  readonly #runs: number;
  readonly #beganAt: number;
  #toldAt: number;
  #before = { runs: 0, events: 0 };

  constructor(context: Context, runs: number) {
    this.#context = context;
    this.#runs = runs;
    this.#beganAt = context.clock.monotonic();
    this.#toldAt = this.#beganAt;
  }

  tell(runs: number, events: number): void {
    const { clock, output } = this.#context;
    const now = clock.monotonic();
    if (now - this.#toldAt < tellEveryMs) return;
    this.#toldAt = now;
    const seconds = (now - this.#beganAt) / 1_000;
    const total = { runs: this.#before.runs + runs, events: this.#before.events + events };
    const rate = (count: number): string => grouped(Math.round(count / seconds));
    output.progress(
      `${grouped(total.runs)} of ${grouped(this.#runs)} rotations, ${rate(total.runs)} a second; ${rate(total.events)} events a second`,
    );
  }

  next({ runs, tally }: Simulation): void {
    this.#before = { runs: this.#before.runs + runs, events: this.#before.events + tally.events };
  }
}

/** Secrets whose policies differ in nothing that matters to a rotation are one. */
function alike(secrets: readonly SecretPolicy[]): readonly (readonly [SecretPolicy, ...SecretPolicy[]])[] {
  const groups = new Map<string, [SecretPolicy, ...SecretPolicy[]]>();
  for (const secret of secrets) {
    const { receivers, gates, approvals, cutover, blackouts, canary, scheme, mode, upstream } = secret;
    const { capabilities, steps } = upstream;
    const { timeoutMs } = steps.activate;
    const key = JSON.stringify([
      receivers,
      gates,
      approvals,
      cutover,
      blackouts,
      canary?.count,
      scheme,
      mode,
      capabilities,
      timeoutMs,
    ]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [secret]);
    else group.push(secret);
  }
  return [...groups.values()];
}

/** So many runs in all, shared out evenly; at least one each. */
function shared(groups: ReturnType<typeof alike>, runs: number): readonly Alike[] {
  return groups.map((group, index) => ({
    policy: group[0],
    secrets: group.map(({ secret }) => secret),
    runs: Math.max(1, Math.floor((runs + groups.length - 1 - index) / groups.length)),
  }));
}

function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

function counted(count: number, one: string, many: string): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

function summaryLines(simulations: readonly Simulation[], seed: number, { faults }: Flags): readonly string[] {
  const tally = emptyTally();
  for (const simulation of simulations) addTally(tally, simulation.tally);
  const what = { none: 'no faults', usual: 'the usual faults', hard: 'hard faults' }[faults];
  const found = simulations.find((each) => each.found !== null)?.found ?? null;
  const runs = simulations.reduce((sum, each) => sum + each.runs, 0);
  return [
    `Simulated ${counted(runs, 'world', 'worlds')} with ${what}, from seed ${String(seed)} on: ${counted(tally.rotations, 'rotation', 'rotations')}, ${counted(tally.messages, 'message', 'messages')}.`,
    found === null
      ? 'Not one valid message was refused, and nothing else happened that must never happen.'
      : `Something happened that must never happen: ${found.violation.invariant}, ${invariantWords[found.violation.invariant]}.`,
  ];
}

function lines({ secrets }: Alike, { runs, tally, factor, found }: Simulation): readonly string[] {
  const [first = '', ...others] = secrets;
  const same = others.length === 0 ? '' : ` (and ${others.join(', ')}, whose policy is the same)`;
  const people = Object.entries(tally.people).map(([what, count]) => `${what} ${grouped(count)}×`);
  const shortened =
    factor < 1 ? [`  scale         long durations of the policy are shortened to ${scaleOf(factor)}`] : [];
  const longest =
    tally.longestWaitFor === null ? 'none' : `${formatDuration(tally.longestWaitMs)}, for ${tally.longestWaitFor}`;
  return [
    '',
    `${first}${same}`,
    `  rotations     ${rotationWords(runs, tally)}`,
    `  messages      ${messageWords(tally)}`,
    `  two keys      accepted at once for ${formatDuration(tally.longestTwoKeysMs)} at the longest`,
    `  longest wait  ${longest}`,
    `  people        ${people.length === 0 ? 'had nothing to do' : people.join(', ')}`,
    ...shortened,
    ...(found === null ? [] : foundLines(first, found)),
  ];
}

function scaleOf(factor: number): string {
  return `1/${String(Math.round(10 / factor) / 10)}`;
}

function rotationWords(runs: number, { rotations, completed, aborted, superseded }: Tally): string {
  return `${grouped(rotations)} in ${counted(runs, 'world', 'worlds')}: ${grouped(completed)} completed, ${grouped(aborted)} went back, ${grouped(superseded)} ended by a compromise`;
}

function messageWords({ messages, delivered, deliveredLater, lost, refusedAtAPrice, forged }: Tally): string {
  const price =
    refusedAtAPrice === 0
      ? ''
      : `, ${grouped(refusedAtAPrice)} refused at a known price (a compromise, or a hand at the upstream)`;
  return `${grouped(messages)}: ${grouped(delivered)} delivered, ${grouped(deliveredLater)} of them after "try again"; ${grouped(lost)} lost where no receiver was reached${price}; ${grouped(forged)} forged, none accepted`;
}

function foundLines(secret: string, { seed, violation, schedule, timeline, advice }: Found): readonly string[] {
  const { faults, level } = schedule;
  return [
    '',
    `  ${violation.invariant} at ${worldTime(violation.at)}, seed ${String(seed)}: ${violation.message}`,
    faults.length === 0 ? '  It takes no fault.' : '  It takes these faults:',
    ...faults.map((fault) => `    ${worldTime(fault.at)}  ${faultWords(fault)}`),
    '  What happened:',
    ...timeline.map((line) => `    ${line}`),
    ...(advice.length === 0 ? [] : ['  In this policy:', ...advice.map((line) => `    ${line}`)]),
    `  To see all of it: keyturn simulate ${secret} --seed ${String(seed)} --faults ${level} --trace`,
  ];
}

function simulationJson({ secrets }: Alike, { runs, tally, factor, found }: Simulation): object {
  return {
    secrets,
    ...{ runs, factor },
    ...tally,
    refused: found?.violation.invariant === 'I1' ? 1 : 0,
    violation: found === null ? null : { ...found.violation, seed: found.seed, faults: found.schedule.faults },
    timeline: found?.timeline ?? [],
    advice: found?.advice ?? [],
  };
}
