import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesBelow, leaks } from './support/leaks.ts';
import type { Finished, Later } from './support/processes.ts';
import { InTerminal, noTerminal } from './support/terminal.ts';
import { traceLines, World } from './support/world.ts';

const value = 'sneaky/+value=-7f3a9b0c1d2e';
const old = 'former/+value=-5b6c7d8e9f0a';

const version = { version: 'v2', value, created_at: '2023-11-01T10:00:00Z', status: 'primary' };
const former = { version: 'v1', value: old, created_at: '2023-10-01T10:00:00Z', status: 'deprecated' };

/** The documents' JSON with these integrations. */
function documentOf(...names: readonly string[]): string {
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, { active_secrets: [version, former] }])));
}

/** A folder with a policy of four secrets, one of which nothing verifies signatures with. */
async function open(later: Later): Promise<World> {
  const world = await World.open(later, { hook: {}, other: {}, taken: {}, token: {} });
  const file = join(world.folder, 'rotation-policy.json');
  const policy = JSON.parse(readFileSync(file, 'utf8')) as { secrets: Record<string, { scheme?: string }> };
  delete policy.secrets['token']!.scheme;
  writeFileSync(file, JSON.stringify(policy));
  return world;
}

function write(world: World, name: string, text: string, mode = 0o600): string {
  const path = join(world.folder, name);
  for (let folder = dirname(path); folder !== world.folder; folder = dirname(folder)) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o700);
  }
  writeFileSync(path, text, { mode });
  return path;
}

/** Where values show beside the keyrings, and beside the files that were written to hold them. */
function leaksOf(world: World, said: readonly string[], holders: readonly string[] = []): readonly string[] {
  const texts = new Map<string, Buffer | string>(filesBelow(world.folder));
  for (const path of [...texts.keys()]) {
    if (path.startsWith('.keyturn/secrets/') || holders.includes(path)) texts.delete(path);
  }
  for (const [index, text] of said.entries()) texts.set(`output ${String(index)}`, text);
  return leaks([value, old], texts);
}

/** The audit events of a secret that belong to no run. */
function notes(world: World, secret: string): readonly (readonly [string, Readonly<Record<string, unknown>>])[] {
  const journal = new DatabaseSync(join(world.folder, '.keyturn/journal.db'), { readOnly: true, timeout: 5_000 });
  try {
    const rows = journal
      .prepare('SELECT event, data FROM events WHERE secret = ? AND run IS NULL ORDER BY id')
      .all(secret);
    return rows.map(({ event, data }) => [
      String(event),
      JSON.parse(String(data)) as Readonly<Record<string, unknown>>,
    ]);
  } finally {
    journal.close();
  }
}

interface Refusal {
  readonly name: string;
  readonly args: readonly string[];
  readonly exit: number;
  readonly code: string;
  readonly says: readonly RegExp[];
  readonly input?: string;
  /** Files in the folder. */
  readonly files?: Readonly<Record<string, string>>;
}

const adopting: readonly Refusal[] = [
  {
    name: 'adopting from two places',
    args: ['adopt', 'hook', '--stdin', '--from-store', 'prod/hook'],
    input: value,
    exit: 2,
    code: 'usage',
    says: [/once/, /--from-store KEY/],
  },
  {
    name: 'adopting for a secret that nobody knows',
    args: ['adopt', 'hok', '--stdin'],
    input: value,
    exit: 2,
    code: 'secret-unknown',
    says: [/Did you mean hook/],
  },
  {
    name: 'adopting for a secret that has a value',
    args: ['adopt', 'taken', '--stdin'],
    input: 'another-value-0123',
    exit: 5,
    code: 'secret-exists',
    says: [/taken has a value already/, /keyturn rotate taken/],
  },
  {
    name: 'adopting the value of another secret',
    args: ['adopt', 'hook', '--stdin'],
    input: value,
    exit: 5,
    code: 'value-shared',
    says: [/same value as taken/, /--skip-duplicate-check/],
  },
  {
    name: 'adopting a line of an env file',
    args: ['adopt', 'hook', '--stdin'],
    input: `WEBHOOK_SECRET=${value}\n`,
    exit: 2,
    code: 'value-refused',
    says: [/whole line of an env file/, /--as-is/],
  },
  {
    name: 'adopting a mask, whatever anybody says',
    args: ['adopt', 'hook', '--stdin', '--as-is'],
    input: '••••••••',
    exit: 2,
    code: 'value-refused',
    says: [/mask/],
  },
  {
    name: 'adopting a token that can be guessed',
    args: ['adopt', 'token', '--stdin'],
    input: 'fifteen-letters',
    exit: 2,
    code: 'value-refused',
    says: [/16 characters/],
  },
  {
    name: 'adopting from a place of the store where nothing is',
    args: ['adopt', 'hook', '--from-store', 'prod/nowhere'],
    exit: 2,
    code: 'usage',
    says: [/prod\/nowhere/, /file store/],
  },
  {
    name: 'adopting from a property that is not there',
    args: ['adopt', 'hook', '--from-store', 'prod/hook#WEBHOOK'],
    files: { '.keyturn/secrets/.plain/prod/hook': JSON.stringify({ HOOK: value }) },
    exit: 2,
    code: 'value-refused',
    says: [/has no property WEBHOOK/],
  },
  {
    name: 'adopting from no key',
    args: ['adopt', 'hook', '--from-store', '#HOOK'],
    exit: 2,
    code: 'usage',
    says: [/prod\/github#WEBHOOK_SECRET/],
  },
];

const importing: readonly Refusal[] = [
  { name: 'importing nothing', args: ['import'], exit: 2, code: 'usage', says: [/secrets\.json/] },
  {
    name: 'importing two files',
    args: ['import', 'a.json', 'b.json'],
    exit: 2,
    code: 'usage',
    says: [/one file/],
  },
  {
    name: 'importing a file that is not there',
    args: ['import', 'nowhere.json'],
    exit: 2,
    code: 'usage',
    says: [/nowhere\.json/, /ENOENT/],
  },
  {
    name: 'importing what is no JSON',
    args: ['import', '-'],
    input: value,
    exit: 2,
    code: 'import-invalid',
    says: [/standard input/, /no whole JSON object/],
  },
  {
    name: 'importing what has several mistakes: all are told',
    args: ['import', 'secrets.json'],
    files: {
      'secrets.json': JSON.stringify({
        hook: { active_secrets: [version, { ...version, value: old, created_at: 'soon' }] },
        other: { active_secrets: [{ ...former, value: '' }] },
      }),
    },
    exit: 2,
    code: 'import-invalid',
    says: [
      /secrets\.json/,
      /hook\.active_secrets\[1\]\.created_at/,
      /hook\.active_secrets: has 2 primary/,
      /hook\.active_secrets\[1\]\.version: is the label/,
      /other\.active_secrets\[0\]\.value: is empty/,
    ],
  },
  {
    name: 'importing for secrets that nobody knows: all are told',
    args: ['import', '-'],
    input: documentOf('hok', 'elsewhere/other'),
    exit: 2,
    code: 'import-invalid',
    says: [/hok: .*Did you mean hook/, /\["elsewhere\/other"\]/],
  },
  {
    name: 'importing for a secret that has a value',
    args: ['import', '-'],
    input: documentOf('taken'),
    exit: 5,
    code: 'secret-exists',
    says: [/taken has a value already/],
  },
  {
    name: 'importing the value of another secret',
    args: ['import', '-'],
    input: documentOf('hook'),
    exit: 5,
    code: 'value-shared',
    says: [/same value as taken/],
  },
  {
    name: 'importing values that look like mistakes: all are told',
    args: ['import', '-'],
    input: JSON.stringify({
      hook: {
        active_secrets: [
          { ...version, value: `"${value}"` },
          { ...former, value: `${old}\n` },
        ],
      },
    }),
    exit: 2,
    code: 'value-refused',
    says: [/version v2 of hook is wrapped in quotes/, /version v1 of hook has a line break/, /--as-is/],
  },
  {
    name: 'importing of an env file without saying what',
    args: ['import', '--dotenv', '.env'],
    files: { '.env': `HOOK='${value}'` },
    exit: 2,
    code: 'usage',
    says: [/NAME=SECRET/],
  },
  {
    name: 'importing of an env file by a pair that is none',
    args: ['import', '--dotenv', '.env', 'hook'],
    files: { '.env': `HOOK='${value}'` },
    exit: 2,
    code: 'usage',
    says: [/"hook" is no NAME=SECRET/],
  },
  {
    name: 'importing of an env file what is not in it: all are told',
    args: ['import', '--dotenv', '.env', 'HOOOK=hook', 'OTHER=other'],
    files: { '.env': `HOOK='${value}'` },
    exit: 2,
    code: 'import-invalid',
    says: [/HOOOK: is not set/, /OTHER: is not set/],
  },
];

const handingOut: readonly Refusal[] = [
  {
    name: 'exporting values into a pipe',
    args: ['export', 'taken', '--show-values'],
    exit: 2,
    code: 'usage',
    says: [/at a terminal only/, /--out FILE/],
  },
  {
    name: 'exporting into a file that is there',
    args: ['export', 'taken', '--show-values', '--out', 'mine'],
    files: { mine: 'mine' },
    exit: 2,
    code: 'usage',
    says: [/mine is there already/],
  },
  {
    name: 'exporting into a folder that is not there',
    args: ['export', 'taken', '--out', 'nowhere/mine'],
    exit: 2,
    code: 'usage',
    says: [/nowhere\/mine/, /ENOENT/],
  },
  {
    name: 'exporting in a format that nobody knows',
    args: ['export', 'hook', '--format', 'yaml'],
    exit: 2,
    code: 'usage',
    says: [/active-secrets, dotenv, value/],
  },
  {
    name: 'exporting two values by themselves',
    args: ['export', 'hook', 'other', '--format', 'value'],
    exit: 2,
    code: 'usage',
    says: [/one secret at a time/],
  },
  {
    name: 'exporting a secret without a value',
    args: ['export', 'taken', 'other'],
    exit: 1,
    code: 'secret-absent',
    says: [/other has no primary/, /keyturn adopt other/],
  },
  {
    name: 'exporting two secrets as one variable',
    args: ['export', 'A=hook', 'A=other', '--format', 'dotenv'],
    exit: 2,
    code: 'usage',
    says: [/hook and other would both be the variable A/],
  },
  { name: 'revealing without a stage', args: ['reveal', 'hook'], exit: 2, code: 'usage', says: [/--stage/] },
  {
    name: 'revealing what is revoked',
    args: ['reveal', 'hook', '--stage', 'revoked'],
    exit: 2,
    code: 'usage',
    says: [/pending, primary, deprecated/],
  },
  {
    name: 'revealing into a pipe',
    args: ['reveal', 'taken', '--stage', 'primary'],
    exit: 2,
    code: 'usage',
    says: [/at a terminal only/, /--out FILE/],
  },
  {
    name: 'revealing what is not there',
    args: ['reveal', 'taken', '--stage', 'pending', '--out', 'new'],
    exit: 1,
    code: 'secret-absent',
    says: [/taken has no pending version/],
  },
];

async function adopt(world: World, secret: string, text: string, ...more: readonly string[]): Promise<Finished> {
  return world.run(['adopt', secret, '--stdin', ...more], { input: text });
}

/** Nothing that is refused changes anything, so they share an installation in which one secret has a value. */
describe('ways in and out that are refused', { timeout: 240_000 }, () => {
  const refusals = [...adopting, ...importing, ...handingOut];
  const holders = refusals.flatMap(({ files }) => Object.keys(files ?? {}));
  const closers: Parameters<Later>[0][] = [];
  let world: World;
  let before: readonly string[];

  const files = (): readonly string[] => [...filesBelow(world.folder).keys()].filter((path) => !path.includes('.db-'));

  beforeAll(async () => {
    world = await open((stop) => closers.push(stop));
    expect(await adopt(world, 'taken', value)).toMatchObject({ code: 0 });
    for (const [name, text] of refusals.flatMap((each) => Object.entries(each.files ?? {}))) write(world, name, text);
    before = files();
  });

  afterAll(async () => {
    for (const close of closers.reverse()) await close();
  });

  describe.concurrent('each', () => {
    it.for(refusals)('$name: exit $exit', async ({ args, exit, code, says, input = '' }) => {
      const json = await world.run([...args, '--json'], { input });
      expect(json).toMatchObject({ code: exit, stderr: '' });
      const document = JSON.parse(json.stdout) as { error: { message: string; hint: string | null } };
      expect(document).toMatchObject({ format: 'keyturn.error/1', exit, error: { code } });
      for (const what of says) expect(`${document.error.message}\n${document.error.hint ?? ''}`).toMatch(what);
      expect(leaks([value, old], new Map([['the document', json.stdout]]))).toEqual([]);
      expect(traceLines(json.stdout)).toEqual([]);
    });
  });

  it('in words too, on stderr alone', async () => {
    for (const { args, exit, says, input = '' } of [adopting[3]!, importing[4]!, handingOut[0]!]) {
      const words = await world.run(args, { input });
      expect(words).toMatchObject({ code: exit, stdout: '' });
      for (const what of says) expect(words.stderr).toMatch(what);
      expect(leaksOf(world, [words.stderr], holders)).toEqual([]);
    }
  });

  it('and none of them wrote anything, or noted that it did', () => {
    expect(files()).toEqual(before);
    expect(notes(world, 'taken').map(([event]) => event)).toEqual(['adopt']);
    expect(['hook', 'other', 'token'].flatMap((secret) => notes(world, secret))).toEqual([]);
  });
});

describe.concurrent('values on their way in', { timeout: 240_000 }, () => {
  it('from a plain copy in the store, whole or a property of it; the copy stays as it is', async ({
    onTestFinished,
  }) => {
    const world = await open(onTestFinished);
    const json = JSON.stringify({ HOOK: value, port: 1 });
    const copy = write(world, '.keyturn/secrets/.plain/prod/hook', json);
    write(world, '.keyturn/secrets/.plain/other', old);
    const done = await world.run(['adopt', 'hook', '--from-store', 'prod/hook#HOOK']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(await world.run(['adopt', 'other', '--from-store', 'other'])).toMatchObject({ code: 0 });
    expect(world.keyring('hook').versions).toMatchObject([{ stage: 'primary', value }]);
    expect(world.keyring('other').versions).toMatchObject([{ stage: 'primary', value: old }]);
    expect(readFileSync(copy, 'utf8')).toBe(json);
    expect(leaksOf(world, [done.all])).toEqual([]);
  });

  it('as they are, when a person says so; one line end is no part of them even then', async ({ onTestFinished }) => {
    const world = await open(onTestFinished);
    expect(await adopt(world, 'hook', `"${value}"\n`, '--as-is')).toMatchObject({ code: 0 });
    expect(world.keyring('hook').versions).toMatchObject([{ value: `"${value}"` }]);
    expect(await adopt(world, 'other', `"${value}"`, '--as-is', '--skip-duplicate-check')).toMatchObject({ code: 0 });
    expect(notes(world, 'other')).toMatchObject([['adopt', { asIs: true, skipDuplicateCheck: true }]]);
  });

  it("R-24: the documents' JSON, shown first, then imported with its labels", async ({ onTestFinished }) => {
    const world = await open(onTestFinished);
    const entry = {
      webhook_endpoint: 'https://hooks.example.com',
      auth_method: 'hmac_sha256',
      rotation_policy_days: 30,
      active_secrets: [version, former],
    };
    write(world, 'secrets.json', JSON.stringify({ hook: entry }));
    const shown = await world.run(['import', 'secrets.json', '--dry-run']);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    expect(shown.stdout).toMatch(/^hook: would be imported with v2 \(primary\), v1 \(deprecated\)\.$/m);
    expect(shown.stdout).toMatch(/rotation_policy_days is 30; the policy has no rotateEvery/);
    expect(shown.stdout).toMatch(/webhook_endpoint is the url of a canary; the policy has no canary/);
    expect(existsSync(join(world.folder, '.keyturn/secrets/hook.json'))).toBe(false);
    const done = await world.run(['import', 'secrets.json', '--json']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(done.stdout)).toMatchObject({
      format: 'keyturn.import/1',
      dryRun: false,
      secrets: [
        {
          name: 'hook',
          secret: 'hook',
          outcome: 'imported',
          versions: [
            { id: 'v2', stage: 'primary', createdAt: '2023-11-01T10:00:00.000Z' },
            { id: 'v1', stage: 'deprecated', createdAt: '2023-10-01T10:00:00.000Z' },
          ],
          error: null,
        },
      ],
    });
    expect(world.keyring('hook')).toMatchObject({
      revision: 1,
      versions: [
        { id: 'v1', stage: 'deprecated', value: old },
        { id: 'v2', stage: 'primary', value },
      ],
    });
    expect(notes(world, 'hook')).toMatchObject([['import', { who: expect.stringContaining('@') }]]);
    expect(leaksOf(world, [shown.all, done.all], ['secrets.json'])).toEqual([]);
  });

  it('what one secret of several is refused for stops no other: exit 5, with both in the result', async ({
    onTestFinished,
  }) => {
    const world = await open(onTestFinished);
    expect(await adopt(world, 'hook', 'another-value-0123')).toMatchObject({ code: 0 });
    const done = await world.run(['import', '-'], {
      input: JSON.stringify({
        hook: { active_secrets: [version] },
        other: { active_secrets: [{ ...former, status: 'primary' }] },
      }),
    });
    expect(done.code).toBe(5);
    expect(done.stdout).toMatch(/^hook: hook has a value already\.$/m);
    expect(done.stdout).toMatch(/^other: imported v1 \(primary\)\.$/m);
    expect(world.keyring('other').versions).toMatchObject([{ id: 'v1', stage: 'primary', value: old }]);
    expect(leaksOf(world, [done.all])).toEqual([]);
  });

  it('a version that a rotation elsewhere had not retired is accepted until the next rotation retires it', async ({
    onTestFinished,
  }) => {
    const world = await World.open(onTestFinished);
    expect(await world.run(['import', '-'], { input: documentOf('hook') })).toMatchObject({ code: 0 });
    world.hook().signWith(old);
    const receiver = await world.startReceiver('node');
    world.hook().send(40, receiver.url);
    await world.moreDeliveries(10);
    world.hook().signWith(value);
    await world.moreDeliveries(10);
    const done = await world.run(['rotate', 'hook', '--wait']);
    expect(done.code).toBe(0);
    expect(world.keyring().versions.map(({ id, stage }) => [id, stage])).toEqual([
      ['v1', 'revoked'],
      ['v2', 'revoked'],
      [expect.any(String), 'primary'],
    ]);
    await world.moreDeliveries(10);
    expect(world.refusals()).toEqual({});
    expect(world.leaks()).toEqual([]);
  });
});

describe.concurrent('values on their way out', { timeout: 240_000 }, () => {
  it('not without being asked for: placeholders go anywhere, and leave no event', async ({ onTestFinished }) => {
    const world = await open(onTestFinished);
    await world.run(['import', '-'], { input: documentOf('hook') });
    const all = await world.run(['export']);
    expect(all.code).toBe(0);
    expect(JSON.parse(all.stdout)).toMatchObject({
      hook: {
        auth_method: 'hmac_sha256',
        active_secrets: [
          { version: 'v2', value: '…' },
          { version: 'v1', value: '…' },
        ],
      },
    });
    expect(all.stderr).toBe(
      ['other', 'taken', 'token'].map((name) => `${name} has no primary version yet; it is left out.\n`).join(''),
    );
    const env = await world.run(['export', 'hook', '--format', 'dotenv']);
    expect(env).toMatchObject({ code: 0, stdout: "HOOK='…'\n", stderr: '' });
    expect(notes(world, 'hook').map(([event]) => event)).toEqual(['import']);
    expect(leaksOf(world, [all.all, env.all])).toEqual([]);
  });

  it('R-24: into a new file that its owner alone may read, from which another installation imports the same', async ({
    onTestFinished,
  }) => {
    const [world, there] = [await open(onTestFinished), await open(onTestFinished)];
    await world.run(['import', '-'], { input: documentOf('hook') });
    const done = await world.run(['export', 'hook', '--show-values', '--out', 'out.json', '--json']);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    const file = join(world.folder, 'out.json');
    expect(JSON.parse(done.stdout)).toEqual({
      format: 'keyturn.export/1',
      as: 'active-secrets',
      secrets: ['hook'],
      valuesShown: true,
      out: file,
      text: null,
    });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(notes(world, 'hook').at(-1)).toMatchObject([
      'export',
      { who: expect.stringContaining('@'), format: 'active-secrets', versions: [{ id: 'v2' }, { id: 'v1' }] },
    ]);
    expect(await there.run(['import', file])).toMatchObject({ code: 0, stderr: '' });
    expect(there.keyring().versions).toEqual(world.keyring().versions);
    expect(leaksOf(world, [done.all], ['out.json'])).toEqual([]);
  });

  it('as an env file that a shell and Node read the same, and that can be imported', async ({ onTestFinished }) => {
    const [world, there] = [await open(onTestFinished), await open(onTestFinished)];
    const hard = "it's-#-a-hard=one";
    await adopt(world, 'hook', value);
    await adopt(world, 'other', hard);
    const args = ['export', 'WEBHOOK=hook', 'other', '--format', 'dotenv', '--show-values', '--out', '.env'];
    const done = await world.run(args);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    const file = join(world.folder, '.env');
    const byShell = execFileSync('sh', ['-c', `. '${file}'; printf '%s|%s' "$WEBHOOK" "$OTHER"`], { encoding: 'utf8' });
    const script = 'process.stdout.write(`${process.env.WEBHOOK}|${process.env.OTHER}`)';
    const byNode = execFileSync(process.execPath, [`--env-file=${file}`, '-e', script], { encoding: 'utf8' });
    expect([byShell, byNode]).toEqual([`${value}|${hard}`, `${value}|${hard}`]);
    expect(await there.run(['import', '--dotenv', file, 'WEBHOOK=hook', 'OTHER=other'])).toMatchObject({ code: 0 });
    expect(there.keyring('hook').versions).toMatchObject([{ stage: 'primary', value }]);
    expect(there.keyring('other').versions).toMatchObject([{ stage: 'primary', value: hard }]);
    expect(leaksOf(world, [done.all], ['.env'])).toEqual([]);
  });

  it('one value by itself, to a new file, without a line end', async ({ onTestFinished }) => {
    const world = await open(onTestFinished);
    await world.run(['import', '-'], { input: documentOf('hook') });
    const exported = await world.run(['export', 'hook', '--format', 'value', '--show-values', '--out', 'primary']);
    const revealed = await world.run(['reveal', 'hook', '--stage', 'deprecated', '--out', 'deprecated']);
    for (const [name, text, done] of [
      ['primary', value, exported],
      ['deprecated', old, revealed],
    ] as const) {
      expect(done).toMatchObject({ code: 0, stderr: '' });
      expect(done.stdout).toContain(join(world.folder, name));
      expect(readFileSync(join(world.folder, name), 'utf8')).toBe(text);
      expect(statSync(join(world.folder, name)).mode & 0o777).toBe(0o600);
    }
    expect(notes(world, 'hook').slice(1)).toMatchObject([
      ['export', { format: 'value', versions: [{ id: 'v2', stage: 'primary' }] }],
      ['reveal', { version: 'v1', stage: 'deprecated' }],
    ]);
    expect(leaksOf(world, [exported.all, revealed.all], ['primary', 'deprecated'])).toEqual([]);
  });
});

describe.concurrent('at a terminal', { timeout: 240_000 }, () => {
  it('a value is shown to the person who asks for it, and the audit trail says so', async ({
    onTestFinished,
    skip,
  }) => {
    skip(noTerminal !== null, noTerminal ?? '');
    const world = await open(onTestFinished);
    await world.run(['import', '-'], { input: documentOf('hook') });
    const revealed = new InTerminal(onTestFinished, world, ['reveal', 'hook', '--stage', 'deprecated']);
    expect(await revealed.finished).toBe(0);
    expect(revealed.raw).toContain(old);
    expect(revealed.raw).not.toContain(value);
    expect(revealed.raw).toContain('version v1 of hook, which is deprecated');
    const exported = new InTerminal(onTestFinished, world, ['export', 'hook', '--show-values', '--format', 'value']);
    expect(await exported.finished).toBe(0);
    expect(exported.raw).toContain(value);
    expect(notes(world, 'hook').map(([event]) => event)).toEqual(['import', 'reveal', 'export']);
    expect(leaksOf(world, [])).toEqual([]);
  });

  it('a value that a terminal would obey is not shown', async ({ onTestFinished, skip }) => {
    skip(noTerminal !== null, noTerminal ?? '');
    const world = await open(onTestFinished);
    await adopt(world, 'hook', `\u001b]0;${value}`, '--as-is');
    const revealed = new InTerminal(onTestFinished, world, ['reveal', 'hook', '--stage', 'primary']);
    expect(await revealed.finished).toBe(2);
    expect(revealed.raw).toContain('--out FILE');
    expect(leaksOf(world, [revealed.raw])).toEqual([]);
  });

  it.for([
    [['adopt', 'hook', '--stdin'], 'keyturn adopt hook --stdin'],
    [['import', '-'], 'keyturn import - < secrets.json'],
  ] as const)(
    'no value is typed where everybody could read along: %s',
    async ([args, way], { onTestFinished, skip }) => {
      skip(noTerminal !== null, noTerminal ?? '');
      const world = await open(onTestFinished);
      const terminal = new InTerminal(onTestFinished, world, args, { columns: 200 });
      expect(await terminal.finished).toBe(2);
      expect(terminal.raw).toContain('Standard input is a terminal');
      expect(terminal.raw).toContain(way);
    },
  );
});
