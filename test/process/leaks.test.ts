import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { generateX25519Identity } from 'age-encryption';
import { webhook } from 'keyturn/node';
import { openReceiver } from 'keyturn/receiver';
import { describe, expect, it } from 'vitest';
import { commandWords } from '../../src/cli/help.ts';
import { laterCommands } from '../../src/cli/later.ts';
import { logOf } from '../../src/ports/log.ts';
import * as story from './support/leak-story.ts';
import { leaks } from './support/leaks.ts';
import type { Later } from './support/processes.ts';
import { answerTo, rawRequests, signatureOf } from './support/raw-requests.ts';
import { type Loudness, type Played, Scene } from './support/scene.ts';
import { until } from './support/until.ts';
import { World } from './support/world.ts';

const everything = { DEBUG: '*', KEYTURN_LOG: 'json' };

/** The parts of Node that values come by. What loads modules tells megabytes for each process. */
const nodeDebug = 'child_process,crypto,fetch,fs,http,net,sqlite,tls,undici';

const loudnesses: readonly Loudness[] = [
  { name: '--json --verbose, DEBUG=*', args: ['--json', '--verbose'], env: everything, isEncrypted: false },
  {
    name: `--verbose, DEBUG=*, NODE_DEBUG=${nodeDebug}, with encrypted keyrings`,
    args: ['--verbose'],
    env: { DEBUG: '*', NODE_DEBUG: nodeDebug },
    isEncrypted: true,
  },
];

/** What was played, a line for each command. */
function list(played: readonly Played[]): readonly string[] {
  return [...Map.groupBy(played, ({ command }) => command)].map(([command, all]) => {
    const count = (ends: Played['ends']): string => String(all.filter((each) => each.ends === ends).length);
    return `  ${command.padEnd(12)} ${count('well')} well, ${count('badly')} badly`;
  });
}

describe.concurrent('no value shows anywhere (I7)', { timeout: 420_000 }, () => {
  it.for(loudnesses.map((loudness) => [loudness.name, loudness] as const))(
    'whatever command is run, and however it ends: %s',
    async ([, loudness], { onTestFinished }) => {
      const identity = await generateX25519Identity();
      const { isEncrypted } = loudness;
      const holders = story.holdersOf(isEncrypted);
      const scene = await Scene.open(onTestFinished, loudness, holders, isEncrypted ? identity : null);
      const parts = { scene, identity, later: onTestFinished };
      story.preparePolicies(parts);
      await story.takeIn(parts);
      await story.handOut(parts);
      await story.rotateAll(parts);
      await story.saySomething(parts);
      await story.breakAll(parts);
      await story.lookBack(parts);
      await story.practise(parts);

      const { shown, scanned } = await scene.found();
      process.stdout.write(`\nLeak scan, ${loudness.name}: ${scanned}\n${list(scene.played).join('\n')}\n\n`);
      expect(shown).toEqual([]);
      for (const command of Object.keys(commandWords)) {
        for (const ends of ['well', 'badly'] as const)
          expect(scene.played, `${command} ends ${ends}`).toContainEqual(expect.objectContaining({ command, ends }));
      }
      for (const command of laterCommands)
        expect(scene.played).toContainEqual(expect.objectContaining({ command, ends: 'badly' }));
    },
  );

  it('whatever a receiver is sent, and whatever it has to answer with', async ({ onTestFinished }) => {
    const world = await World.open(onTestFinished, { hook: {}, token: {} });
    const [value, token] = [await world.adopt(), await world.adopt('token')];
    const said = new Map<string, Buffer | string>();
    const programs = await Promise.all(
      (['express', 'fetch', 'node'] as const).map(async (program) => world.startReceiver(program)),
    );
    const own = await startOwnReceiver(onTestFinished, world, (line) => said.set(`line ${String(said.size)}`, line));
    const requests = rawRequests(value, token);
    const statuses: Record<string, string[]> = {};
    const askAll = async (when: string): Promise<void> => {
      for (const request of requests) {
        for (const [index, url] of [own, ...programs.map((program) => program.url)].entries()) {
          const answer = await answerTo(url, request);
          said.set(`${when}, ${request.name}, receiver ${String(index)}`, answer);
          (statuses[request.name] ??= []).push(/^HTTP\/1\.1 (\d+)/.exec(answer.toString())?.[1] ?? 'none');
        }
      }
    };
    await askAll('with a value');
    const document = join(world.folder, '.keyturn/secrets/hook.json');
    writeFileSync(document, readFileSync(document).subarray(0, -9));
    await until('they notice', () => programs.every(({ process }) => process.stderr().includes('could not be loaded')));
    await askAll('with a keyring that is damaged');

    expect(programs.map(({ process }) => process.hasEnded())).toEqual([false, false, false]);
    const lines = Object.entries(statuses).map(([name, all]) => `  ${name}: ${[...new Set(all)].join(', ')}`);
    process.stdout.write(
      `\nLeak scan, ${String(said.size)} answers and log lines of receivers:\n${lines.join('\n')}\n\n`,
    );
    expect(statuses).toMatchObject({
      good: expect.arrayContaining(['200']),
      'no signature': expect.arrayContaining(['401']),
    });
    const signatures = [signatureOf(value, '{"text":"hello"}'), signatureOf(value, '{"half":')];
    expect(leaks([value, token, ...signatures], said)).toEqual([]);
    expect(world.leaks()).toEqual([]);
  });
});

/** A receiver of this process, with all that the examples have not: a handshake, a limit, whoever asks for refusals. */
async function startOwnReceiver(later: Later, world: World, say: (line: string) => void): Promise<string> {
  const log = logOf((level) => (message, fields) => say(JSON.stringify({ level, message, ...fields })));
  const policy = join(world.folder, 'rotation-policy.json');
  const receiver = await openReceiver({ policy, secrets: ['hook', 'token'], log });
  const onRefused = (refusal: object): void => say(JSON.stringify(refusal));
  const handle = webhook(
    receiver,
    { secret: 'hook', handshake: 'token', limit: 1_000_000, onRefused },
    (request, response) => {
      say(JSON.stringify(request.webhook));
      request.webhook.json();
      response.end('ok');
    },
  );
  const server = createServer(handle).listen(0, '127.0.0.1');
  later(async () => {
    server.close();
    server.closeAllConnections();
    await receiver.close();
  });
  return until('it listens', () => {
    const address = server.address();
    return typeof address === 'object' && address !== null && `http://127.0.0.1:${String(address.port)}`;
  });
}
