import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatDuration } from '../../model/duration.ts';
import { matchedBy } from '../../decide/evidence.ts';
import { KeyturnError } from '../../model/errors.ts';
import { acceptedVersions } from '../../model/keyring.ts';
import type { Step } from '../../model/run.ts';
import type { SecretState } from '../../orchestrator/orchestrator.ts';
import { withBoard, type Board } from '../board.ts';
import { withOrchestrator, type Context } from '../context.ts';
import { stepLabel } from '../describe.ts';
import { exit, type Exit } from '../exit.ts';
import { ownProgram, startProgram, type Child } from '../practice/children.ts';
import { PracticeClient } from '../practice/client.ts';
import { naiveReceiverProgram } from '../practice/naive-receiver.ts';
import { rotateByCli, type Audience, type EnteredStep, type RotatedStep } from '../practice/rotated.ts';
import { starterPolicy } from '../practice/starter.ts';
import { practiceUpstreamProgram } from '../practice/upstream.ts';
import { TrafficMeter } from '../traffic.ts';

const secret = 'demo-hook';
const tokenFile = 'token';
const frameworks = ['express', 'fetch', 'node'] as const;

/** Deliveries a second while something is shown. */
const ratePerSecond = 240;

/** A delivery takes this long from its signature to its arrival, ms, as deliveries do. */
const transitMs = '20-150';

/** How long traffic flows before and after a plain swap, ms. */
const aroundSwapMs = 1_500;

interface Tally {
  readonly deliveries: number;
  readonly rejected: number;
}

/** Everything the demo started, to be stopped in the reverse order. */
class Stage {
  readonly folder: string;
  readonly token: string;
  readonly #context: Context;
  readonly #children: Child[] = [];

  constructor(context: Context, folder: string) {
    this.#context = context;
    this.folder = folder;
    this.token = Buffer.from(context.random.bytes(24)).toString('base64url');
  }

  async start(path: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Child> {
    const child = await startProgram(path, { args, env });
    this.#children.push(child);
    return child;
  }

  /** The token comes by a file: what is in an environment shows where processes are listed, and goes on to children. */
  async startUpstream(): Promise<{ readonly url: string; readonly client: PracticeClient }> {
    const file = join(this.folder, tokenFile);
    await writeFile(file, this.token, { mode: 0o600 });
    const args = ['--port', '0', '--rate', '0', '--transit-ms', transitMs, '--token-file', file];
    const { url } = await this.start(practiceUpstreamProgram, args, {});
    return { url, client: new PracticeClient(url, this.token) };
  }

  say(line: string): void {
    this.#context.output.progress(line);
  }

  async pause(ms: number): Promise<void> {
    await this.#context.clock.sleep(ms, { signal: this.#context.signal });
    if (this.#context.signal.aborted) throw new KeyturnError('unexpected', 'The demo was interrupted.');
  }

  async close(): Promise<void> {
    for (const child of this.#children.reverse()) await child.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A real rotation on this machine, then the same traffic with a plain swap. Fails when a valid message was refused. */
export async function demo(context: Context): Promise<Exit> {
  const stage = new Stage(context, await mkdtemp(join(tmpdir(), 'keyturn-demo-')));
  try {
    const { steps, tally } = await rotation(context, stage);
    const naive = await plainSwap(stage);
    const lost = tally.rejected > 0;
    context.output.result(conclusion(tally, naive, steps), () => ({ ...tally, steps, naive }));
    return lost ? exit.failed : exit.ok;
  } finally {
    await stage.close();
  }
}

function conclusion(tally: Tally, naive: Tally, steps: readonly RotatedStep[]): readonly string[] {
  const times = steps.map(({ step, ms }) => `${step} ${formatDuration(ms)}`).join(', ');
  const swapped = `A plain swap, everywhere at the same moment, refused ${String(naive.rejected)} of ${String(naive.deliveries)} valid messages: they were signed with the old secret and still on their way.`;
  const rotated =
    tally.rejected === 0
      ? `keyturn rotated the secret (${times}) while ${String(tally.deliveries)} messages arrived, and not one was refused: old and new were both accepted until nobody used the old one any more.`
      : `keyturn rotated the secret (${times}) and ${String(tally.rejected)} of ${String(tally.deliveries)} valid messages were refused, which must never happen: please report it.`;
  return ['', swapped, rotated];
}

async function rotation(
  context: Context,
  stage: Stage,
): Promise<{ readonly steps: readonly RotatedStep[]; readonly tally: Tally }> {
  const { url, client } = await stage.startUpstream();
  const policy = join(stage.folder, 'rotation-policy.json');
  await mkdir(join(stage.folder, '.keyturn'), { mode: 0o700 });
  const timing = { receivers: frameworks.length, refreshEvery: '1s', grace: '3s', quiet: '3s' };
  await writeFile(policy, starterPolicy({ secret, upstream: url, tokenFile, ...timing }));
  const receivers = await startReceivers(stage, policy);
  await client.sendTo(receivers.map((receiver) => `${receiver.url}/`));
  stage.say(`Three receivers (${frameworks.join(', ')}) and an upstream run as processes of this machine.`);
  stage.say('The upstream gets its first secret; there is nothing to retire yet.');
  await rotateByCli(context, { policy, secret, audience: null });
  await client.sendAt(ratePerSecond);
  await stage.pause(aroundSwapMs);
  stage.say(`It sends ${String(ratePerSecond)} signed messages a second. Now: keyturn rotate ${secret} --wait`);
  const steps = await withBoard(context, (board) => {
    const audience = board.isShown ? onBoard(context, policy, client, board) : byLine(context, policy, client);
    return rotateByCli(context, { policy, secret, audience });
  });
  await stage.pause(aroundSwapMs);
  return { steps, tally: await drain(stage, client) };
}

/** Express is what most people have, and no dependency of keyturn: where it is not installed, bare Node stands in for it. */
async function startReceivers(stage: Stage, policy: string): Promise<readonly Child[]> {
  const hasExpress = isInstalled('express');
  if (!hasExpress) stage.say('Express is not installed here, so a second bare Node receiver stands in for it.');
  return Promise.all(
    frameworks.map((framework) => {
      const program = framework === 'express' && !hasExpress ? 'node' : framework;
      return stage.start(ownProgram(`examples/receiver-${program}`), [], {
        KEYTURN_POLICY: policy,
        KEYTURN_ENV: 'sandbox',
        SECRET: secret,
        PORT: '0',
      });
    }),
  );
}

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}

function tellStep(context: Context, { step, message }: EnteredStep): void {
  context.output.progress(`  ${stepLabel(step)}: ${message}`);
}

/** A line for each step, and one every second for the traffic. */
function byLine(context: Context, file: string, client: PracticeClient): Audience {
  return {
    everyMs: 1_000,
    entered: (step) => tellStep(context, step),
    async meanwhile() {
      context.output.progress(await trafficLine(context, file, client));
    },
  };
}

/** The steps as lines, and everything else in place. */
function onBoard(context: Context, file: string, client: PracticeClient, board: Board): Audience {
  const enteredAt = new Map<Step, number>();
  let meter: TrafficMeter | null = null;
  return {
    everyMs: 400,
    entered(step) {
      enteredAt.set(step.step, step.at);
      tellStep(context, step);
    },
    async meanwhile() {
      const { live, keyring, seen } = await lookAt(context, file);
      const { deliveries, rejected } = await client.stats();
      board.endWith(() => [`${String(deliveries)} messages answered, ${String(rejected)} refused`]);
      if (live === null || keyring === null || seen.usage.state === 'failed') return;
      const { run, next } = live;
      meter ??= new TrafficMeter(run.policy.receivers);
      const counted = { keyring, evidence: seen.usage.evidence, to: run.to };
      board.show({
        run,
        step: next.step,
        enteredAt,
        doing: null,
        wait: next.kind === 'wait' ? next : null,
        traffic: meter.measure(counted, context.clock.monotonic()),
      });
    },
  };
}

function lookAt(context: Context, file: string): Promise<SecretState> {
  const onPolicy = { ...context, options: { ...context.options, policy: file } };
  return withOrchestrator(onPolicy, (orchestrator, policy) => orchestrator.look(policy.secrets[0]?.secret ?? secret));
}

/** Which version validates the traffic, from the usage log, beside the upstream's own count. */
async function trafficLine(context: Context, file: string, client: PracticeClient): Promise<string> {
  const { keyring, seen } = await lookAt(context, file);
  const { deliveries, rejected } = await client.stats();
  const { usage } = seen;
  const validated = (keyring === null ? [] : acceptedVersions(keyring).toReversed()).map(
    ({ id, stage }) => `${stage} ${id} validated ${String(usage.state === 'read' ? matchedBy(usage.evidence, id) : 0)}`,
  );
  return `  traffic: ${String(deliveries)} answered, ${String(rejected)} refused; ${validated.join(', ')}`;
}

/** The same receivers' job by the code that webhook guides print, and the same traffic; the swap is one moment for all. */
async function plainSwap(stage: Stage): Promise<Tally> {
  const file = join(stage.folder, 'naive-secret');
  const [before, after] = [`before-${stage.token}`, `after-${stage.token}`];
  await writeFile(file, before, { mode: 0o600 });
  const { client } = await stage.startUpstream();
  const start = (): Promise<Child> => stage.start(naiveReceiverProgram, ['--secret-file', file], {});
  const receivers = await Promise.all([start(), start(), start()]);
  await client.setSecret(before);
  await client.sendTo(receivers.map((receiver) => `${receiver.url}/`));
  stage.say('');
  stage.say('The same traffic, and a plain swap: upstream and all receivers change the secret at the same moment.');
  await client.sendAt(ratePerSecond);
  await stage.pause(aroundSwapMs);
  await writeFile(file, after, { mode: 0o600 });
  for (const receiver of receivers) receiver.process.kill('SIGHUP');
  await client.setSecret(after);
  await stage.pause(aroundSwapMs);
  return drain(stage, client);
}

/** Stops the traffic, lets what is on its way arrive, and counts. */
async function drain(stage: Stage, client: PracticeClient): Promise<Tally> {
  await client.sendAt(0);
  for (;;) {
    const { deliveries, rejected, inFlight } = await client.stats();
    if (inFlight === 0) return { deliveries, rejected };
    await stage.pause(50);
  }
}
