import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { answers } from './support/upstream.ts';
import { eventLines, World } from './support/world.ts';

type Line = Readonly<Record<string, unknown>>;

/** What a command with `--verbose` and `KEYTURN_LOG=json` logged; anything else on stderr fails. */
function logLines(stderr: string): readonly Line[] {
  return stderr
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

const asJson = { env: { KEYTURN_LOG: 'json' } };

describe.concurrent('what happens inside (R-64)', { timeout: 240_000 }, () => {
  it('is told under one id: in the request, the journal, the log and the stream of events', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().react({ kind: 'answer', status: 200, takes: true, headers: { 'x-request-id': 'far-7' } });
    const { code, stdout, stderr } = await world.run(['rotate', 'hook', '--wait', '--json', '--verbose'], asJson);
    expect(code).toBe(0);
    const [run] = world.runs();
    const events = world.eventData();
    const intentOf = (event: string): unknown => events.find((each) => each.event === event)?.data['intent'];
    const intent = intentOf('activate-started');
    expect(intent).toMatch(/^i[0-9a-z]{10}$/);

    const [call] = world.hook().calls;
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as Line;
    expect(call!.headers).toMatchObject({
      'x-request-id': intent,
      'x-correlation-id': run!.id,
      'user-agent': `keyturn/${String(version)}`,
    });
    expect(events.find(({ event }) => event === 'activate-done')!.data).toMatchObject({
      intent,
      upstreamRequestId: 'far-7',
    });
    expect(eventLines(stdout).filter(({ event }) => event.startsWith('activate-'))).toMatchObject([
      { run: run!.id, intent },
      { run: run!.id, intent, upstreamRequestId: 'far-7' },
    ]);
    const effects = ['generate', 'activate', 'promote', 'reassert', 'revoke', 'purge'];
    expect(new Set(effects.map((effect) => intentOf(`${effect}-started`))).size).toBe(effects.length);
    for (const effect of effects) expect(intentOf(`${effect}-done`)).toBe(intentOf(`${effect}-started`));

    const lines = logLines(stderr);
    const ofEffect = lines.filter((line) => line['intent'] === intent);
    // The two fences are read side by side.
    expect(ofEffect.map(({ message }) => String(message)).sort()).toEqual([
      ...['journal save', 'journal save', 'lease read', 'lease read', 'store commit', 'store read'],
      'upstream activate',
    ]);
    for (const line of ofEffect) expect(line).toMatchObject({ level: 'debug', secret: 'hook', run: run!.id });
    expect(ofEffect).toContainEqual(
      expect.objectContaining({ message: 'upstream activate', outcome: 'done', upstreamRequestId: 'far-7' }),
    );
    for (const line of lines) expect(line).toMatchObject({ at: expect.any(String), level: 'debug' });
    expect(world.leaks()).toEqual([]);
  });

  it('is told to people in plain lines, and with an upstream that says no, by the name it gave the request', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    await world.begin();
    world.hook().react(answers(422, { headers: { 'x-request-id': 'far-8' }, body: { message: 'no such hook' } }));
    const { code, stdout, stderr } = await world.run(['rotate', 'hook', '--wait', '--verbose']);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain('It says: "no such hook". Its id of this request: far-8.');
    const told = stderr.split('\n').filter((line) => /^\d\d:\d\d:\d\d\.\d{3}Z /.test(line));
    for (const expected of [
      /Z lease acquire {2}outcome=taken ms=\d+ lease=hook fence=\d+$/,
      /Z lease renew {2}outcome=renewed ms=\d+ lease=hook forMs=\d+ fence=\d+ secret=hook run=r\w+$/,
      /Z store read {2}outcome=present ms=\d+ store="file store at .*" secret=hook revision=\d+ run=r\w+$/,
      /Z observed {2}secret=hook ms=\d+ keyring=present revision=\d+ usage=read receivers=1 run=r\w+$/,
      /Z decided {2}decision=perform step=update effect=activate secret=hook run=r\w+$/,
      /Z decided {2}decision=wait step=\w+ failing="[a-z-]+ \([a-z-]+\)/,
      /Z upstream activate {2}outcome=failed ms=\d+ upstream="http .*" run=r\w+ intent=i\w+ code=upstream-refused/,
      /Z journal save {2}outcome=done ms=\d+ secret=hook run=r\w+ events=activate-failed intent=i\w+$/,
    ]) {
      expect(told).toContainEqual(expect.stringMatching(expected));
    }
    expect(stderr).not.toMatch(/^\{/m);
    const failed = world.eventData().find(({ event }) => event === 'activate-failed');
    expect(failed!.data).toMatchObject({ code: 'upstream-refused', upstreamRequestId: 'far-8' });
    expect(world.leaks()).toEqual([]);
  });

  it('is not told where nobody asked, and where a command fails for whoever asked with stack and causes', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    const quiet = await world.run(['status', 'other'], asJson);
    expect(quiet.stderr).toMatch(/^keyturn: .*\n( {2}.*\n)?$/);
    const told = await world.run(['status', 'other', '--verbose']);
    expect(told.stderr).toMatch(/Z KeyturnError: .*\n(?:\S+Z at .*\n)+/);
    const json = await world.run(['status', 'other', '--verbose', '--json'], asJson);
    expect(logLines(json.stderr).map(({ message }) => message)).toContainEqual(expect.stringMatching(/^at /));
  });
});

it('nothing that holds a value shows it when it is printed, logged or thrown where nobody catches it', async ({
  onTestFinished,
}) => {
  const world = await World.open(onTestFinished);
  await world.adopt();
  world.hook().react(answers(422, { body: { message: 'no such hook' } }));
  const token = { HOOK_TOKEN: 'tok/en+5f4e=3d2c1b' };
  const program = world.startProgram(fileURLToPath(new URL('support/prints.ts', import.meta.url)), token);
  const { code, stdout, stderr } = await program.finished;
  expect(code).toBe(1);
  expect(stderr).toContain('Nobody caught this.');
  expect(stderr).toContain('no such hook');
  for (const shown of [
    'FileStore',
    'SqliteUsageLog',
    'HmacVerifier',
    'HeldVersion',
    'Orchestrator',
    'upstream-refused',
  ]) {
    expect(stdout).toContain(shown);
  }
  expect(world.leaks()).toEqual([]);
});
