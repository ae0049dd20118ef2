import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root, startNode, type Finished, type Later } from './support/processes.ts';
import { policyOf, keyturnProgram, temporaryFolder, traceLines, type CliOptions } from './support/world.ts';

/** The one shape of every error with `--json`. */
interface ErrorDocument {
  readonly format: string;
  readonly exit: number;
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
    readonly problems: readonly { readonly path: string; readonly line: number; readonly column: number }[];
  };
}

interface BadCall {
  readonly name: string;
  readonly args: readonly string[];
  readonly exit: number;
  readonly code: string;
  /** What the message and its hint say between them. */
  readonly says: readonly RegExp[];
  readonly input?: string;
  readonly policy?: 'none' | 'broken' | 'environments';
}

const sneaky = 'sneaky-value-7f3a9b';

const badCalls: readonly BadCall[] = [
  {
    name: 'no policy',
    args: ['status'],
    policy: 'none',
    exit: 2,
    code: 'policy-missing',
    says: [/no policy \/.*rotation-policy\.json/, /keyturn init/],
  },
  {
    name: 'a policy that --policy names and that is not there',
    args: ['rotate', 'hook', '--policy', 'nowhere.json'],
    exit: 2,
    code: 'policy-missing',
    says: [/nowhere\.json, which --policy names/],
  },
  {
    name: 'a secret that the policy does not have',
    args: ['rotate', 'hok'],
    exit: 2,
    code: 'secret-unknown',
    says: [/no secret hok/, /Did you mean hook\?/],
  },
  {
    name: 'a secret like none of the policy',
    args: ['status', 'zzzzzzzz'],
    exit: 2,
    code: 'secret-unknown',
    says: [/no secret zzzzzzzz/, /Its secrets are hook, other/],
  },
  {
    name: 'a name that stands for several secrets',
    args: ['rotate', 'hook'],
    policy: 'environments',
    exit: 2,
    code: 'secret-ambiguous',
    says: [/live\/hook, test\/hook|test\/hook, live\/hook/, /--env/],
  },
  {
    name: 'a name that is not in that environment',
    args: ['rotate', 'hook', '--env', 'liv'],
    policy: 'environments',
    exit: 2,
    code: 'secret-unknown',
    says: [/in environment liv/, /live\/hook/],
  },
  { name: 'no secret at all', args: ['rotate'], exit: 2, code: 'usage', says: [/missing .*'secret'/, /--help/] },
  {
    name: 'a command with a slip in it',
    args: ['rotat', 'hook'],
    exit: 2,
    code: 'usage',
    says: [/unknown command 'rotat'/, /Did you mean rotate\?/],
  },
  {
    name: 'an option with a slip in it',
    args: ['rotate', 'hook', '--wiat'],
    exit: 2,
    code: 'usage',
    says: [/unknown option '--wiat'/, /Did you mean --wait\?/],
  },
  { name: 'no command', args: [], exit: 2, code: 'usage', says: [/[Cc]ommand/, /keyturn --help|Usage: keyturn/] },
  {
    name: 'a duration that is none',
    args: ['rotate', 'hook', '--wait=abc'],
    exit: 2,
    code: 'usage',
    says: [/--wait=abc/, /30s/],
  },
  {
    name: 'a duration without a unit',
    args: ['rotate', 'hook', '--wait=10'],
    exit: 2,
    code: 'usage',
    says: [/--wait=10/, /30s/],
  },
  {
    name: 'a lock timeout that is none',
    args: ['rotate', 'hook', '--lock-timeout', 'soon'],
    exit: 2,
    code: 'usage',
    says: [/--lock-timeout/, /30s/],
  },
  {
    name: 'an abort without a reason',
    args: ['abort', 'hook'],
    exit: 2,
    code: 'usage',
    says: [/--reason/],
  },
  {
    name: 'an abort of nothing',
    args: ['abort', 'hook', '--reason', 'x'],
    exit: 1,
    code: 'no-live-run',
    says: [/hook is not being rotated/, /keyturn rotate hook/],
  },
  {
    name: 'a confirmation of nothing',
    args: ['confirm', 'hook'],
    exit: 1,
    code: 'no-live-run',
    says: [/hook is not being rotated/],
  },
  {
    name: 'a receiver that nobody knows',
    args: ['forget', 'nobody', '--reason', 'x'],
    exit: 2,
    code: 'usage',
    says: [/nobody/, /keyturn status/],
  },
  {
    name: 'adopting an empty value',
    args: ['adopt', 'hook', '--stdin'],
    exit: 2,
    code: 'value-refused',
    says: [/is empty/],
  },
  {
    name: 'adopting a value in quotes',
    args: ['adopt', 'hook', '--stdin'],
    input: `"${sneaky}"`,
    exit: 2,
    code: 'value-refused',
    says: [/wrapped in quotes/],
  },
  {
    name: 'adopting a value that ends with line breaks',
    args: ['adopt', 'hook', '--stdin'],
    input: `${sneaky}\n\n`,
    exit: 2,
    code: 'value-refused',
    says: [/line break/],
  },
  {
    name: 'adopting a value of two lines',
    args: ['adopt', 'hook', '--stdin'],
    input: `${sneaky}\n${sneaky}`,
    exit: 2,
    code: 'value-refused',
    says: [/line break/],
  },
  {
    name: 'adopting from both places',
    args: ['adopt', 'hook', '--stdin', '--file', 'value'],
    input: sneaky,
    exit: 2,
    code: 'usage',
    says: [/--stdin/, /--file/],
  },
  {
    name: 'adopting from nowhere',
    args: ['adopt', 'hook'],
    exit: 2,
    code: 'usage',
    says: [/--stdin/, /--file/],
  },
  {
    name: 'adopting from a file that is not there',
    args: ['adopt', 'hook', '--file', 'nowhere'],
    exit: 2,
    code: 'usage',
    says: [/nowhere/],
  },
];

const tenMistakes = `{
  "version": 1,
  // Ten mistakes, and a comma too many, which is none.
  "secrets": {
    "hook": {
      "rotateEvry": "30d",
      "scheme": "gihub",
      "owner": 7,
      "gates": { "grace": "soon", "quite": "1m" },
      "receivers": { "expect": 0 },
      "store": "vault",
      "upstream": {
        "kind": "http",
        "allowHosts": ["127.0.0.1"],
        "credentials": { "token": "${sneaky}" },
        "capabilities": { "valueOrigin": "ours", "activation": "on-push", "overlap": "nothing", "retriesResigned": "yes" },
        "steps": {
          "activate": {
            "method": "PATCH",
            "url": "https://example.com/hook",
            "json": { "secret": "{{new}}" },
          },
        },
      },
    },
  },
}
`;

/** Each mistake's path, its line in the text above, and the word that was meant. */
const mistakes = [
  ['secrets.hook.rotateEvry', 6, 'rotateEvery'],
  ['secrets.hook.scheme', 7, 'github'],
  ['secrets.hook.owner', 8, undefined],
  ['secrets.hook.gates.grace', 9, undefined],
  ['secrets.hook.gates.quite', 9, 'quiet'],
  ['secrets.hook.receivers.expect', 10, undefined],
  ['secrets.hook.store', 11, undefined],
  ['secrets.hook.upstream.credentials.token', 15, undefined],
  ['secrets.hook.upstream.capabilities.overlap', 16, undefined],
  ['secrets.hook.upstream.steps.activate.url', 20, undefined],
] as const;

function folderWith(later: Later, policy: BadCall['policy']): string {
  const folder = temporaryFolder(later);
  const file = join(folder, 'rotation-policy.json');
  if (policy === 'broken') writeFileSync(file, tenMistakes);
  else if (policy !== 'none') {
    const good = policyOf('http://127.0.0.1:9', { secrets: { hook: {}, other: {} } });
    const environments = policy === 'environments' ? { environments: { live: {}, test: {} } } : {};
    writeFileSync(file, JSON.stringify({ ...good, ...environments }));
  }
  return folder;
}

/** Like people who are new to it: in a folder of their own, with nothing set. */
function keyturn(later: Later, folder: string, args: readonly string[], options: CliOptions = {}): Promise<Finished> {
  return startNode(later, keyturnProgram, args, { cwd: folder, ...options }).finished;
}

/** An error is one document, with the same exit code as the process. */
function errorDocument({ code, stdout, stderr }: Finished): ErrorDocument {
  expect(stderr).toBe('');
  const document = JSON.parse(stdout) as ErrorDocument;
  expect(document).toMatchObject({
    format: 'keyturn.error/1',
    exit: code,
    error: { code: expect.stringMatching(/^[a-z]+(-[a-z]+)*$/), message: expect.stringMatching(/\w/) },
  });
  expect(document.error.problems).toBeInstanceOf(Array);
  return document;
}

function expectClean(...all: readonly Finished[]): void {
  for (const { all: text } of all) {
    expect(traceLines(text)).toEqual([]);
    expect(text).not.toMatch(/undefined|\[object|NaN|\(outputHelp\)/);
    expect(text).not.toContain(sneaky);
  }
}

describe.concurrent('bad input', { timeout: 240_000 }, () => {
  it.for(badCalls)('$name: exit $exit, in words and as one JSON document', async (call, { onTestFinished }) => {
    const folder = folderWith(onTestFinished, call.policy);
    const options = call.input === undefined ? {} : { input: call.input };
    const [words, json] = await Promise.all([
      keyturn(onTestFinished, folder, call.args, options),
      keyturn(onTestFinished, folder, [...call.args, '--json'], options),
    ]);
    expectClean(words, json);
    expect(words).toMatchObject({ code: call.exit, stdout: '' });
    for (const what of call.says) expect(words.stderr).toMatch(what);
    const { error } = errorDocument(json);
    expect(json.code).toBe(call.exit);
    expect(error.code).toBe(call.code);
    for (const what of call.says) expect(`${error.message}\n${error.hint ?? ''}`).toMatch(what);
  });

  it.for(['check', 'status', 'run', 'plan'])(
    'a policy with ten mistakes: `%s` reports all ten, each with its place',
    async (command, { onTestFinished }) => {
      const folder = folderWith(onTestFinished, 'broken');
      const words = await keyturn(onTestFinished, folder, [command]);
      expect(words).toMatchObject({ code: 2, stdout: '' });
      const json = await keyturn(onTestFinished, folder, [command, '--json']);
      const { error } = errorDocument(json);
      expect(json.code).toBe(2);
      expect(error.code).toBe('policy-invalid');
      expect(error.problems).toHaveLength(mistakes.length);
      for (const [path, line, didYouMean] of mistakes) {
        expect(words.stderr).toMatch(new RegExp(`rotation-policy\\.json:${String(line)}:\\d+ ${path}: `));
        const [problem] = error.problems.filter((each) => each.path === path);
        expect(problem).toMatchObject({ line, column: expect.any(Number), ...(didYouMean && { didYouMean }) });
      }
      expectClean(words, json);
    },
  );

  it('adopting twice: exit 5, and the value that is there stays', async ({ onTestFinished }) => {
    const folder = folderWith(onTestFinished, undefined);
    const adopt = (input: string, ...more: readonly string[]) =>
      keyturn(onTestFinished, folder, ['adopt', 'hook', '--stdin', ...more], { input });
    // One line end is what every editor adds.
    expect(await adopt('the-value-in-use-1\n')).toMatchObject({ code: 0, stderr: '' });
    const words = await adopt('another-value-2');
    expect(words).toMatchObject({ code: 5, stdout: '' });
    expect(words.stderr).toMatch(/hook has a value already/);
    expect(words.stderr).toMatch(/keyturn rotate hook/);
    const json = await adopt('another-value-2', '--json');
    expect(errorDocument(json)).toMatchObject({ exit: 5, error: { code: 'secret-exists' } });
    expect(readFileSync(join(folder, '.keyturn/secrets/hook.json'), 'utf8')).toContain('"the-value-in-use-1"');
    expectClean(words, json);
  });

  it('`init` twice: the policy that is there stays; with --force it is replaced', async ({ onTestFinished }) => {
    const folder = temporaryFolder(onTestFinished);
    const file = join(folder, 'rotation-policy.json');
    expect(await keyturn(onTestFinished, folder, ['init'])).toMatchObject({ code: 0, stderr: '' });
    const token = readFileSync(join(folder, '.keyturn/practice-token'), 'utf8');
    writeFileSync(file, `${readFileSync(file, 'utf8')}// mine\n`);
    const words = await keyturn(onTestFinished, folder, ['init']);
    expect(words).toMatchObject({ code: 2, stdout: '' });
    expect(words.stderr).toMatch(/is there already/);
    expect(words.stderr).toMatch(/--force/);
    const json = await keyturn(onTestFinished, folder, ['init', '--json']);
    expect(errorDocument(json)).toMatchObject({ exit: 2, error: { code: 'usage' } });
    expect(readFileSync(file, 'utf8')).toContain('// mine');
    expect(readFileSync(join(folder, '.keyturn/practice-token'), 'utf8')).toBe(token);
    expectClean(words, json);
    expect(await keyturn(onTestFinished, folder, ['init', '--force'])).toMatchObject({ code: 0 });
    expect(readFileSync(file, 'utf8')).not.toContain('// mine');
    expect(await keyturn(onTestFinished, folder, ['check'])).toMatchObject({ code: 0, stderr: '' });
  });

  it('a store whose folder may not be read: exit 1, with the folder and what to do', async ({ onTestFinished }) => {
    const folder = folderWith(onTestFinished, undefined);
    const store = join(folder, '.keyturn/secrets');
    mkdirSync(store, { recursive: true });
    // Whoever is root may read everything, and so becomes somebody else.
    const nobody = process.getuid?.() === 0 ? 65_534 : undefined;
    if (nobody !== undefined) for (const path of [folder, join(folder, '.keyturn')]) chownSync(path, nobody, nobody);
    chmodSync(folder, 0o755);
    chmodSync(store, nobody === undefined ? 0o000 : 0o700);
    onTestFinished(() => chmodSync(store, 0o700));
    const options = nobody === undefined ? {} : { uid: nobody };
    for (const args of [['rotate', 'hook'], ['adopt', 'hook', '--stdin'], ['run']]) {
      const words = await keyturn(onTestFinished, folder, args, { ...options, input: sneaky });
      expect(words.code, args.join(' ')).toBe(1);
      expect(words.all).toMatch(/permission denied/);
      expect(words.all).toContain(store);
      expectClean(words);
    }
    const json = await keyturn(onTestFinished, folder, ['rotate', 'hook', '--json'], options);
    expect(errorDocument(json)).toMatchObject({ exit: 1, error: { code: 'store-denied' } });
    const status = await keyturn(onTestFinished, folder, ['status'], options);
    expect(status.all).toMatch(/permission denied/);
    expectClean(json, status);
  });

  it('a store whose folder is a file: exit 1, with the path', async ({ onTestFinished }) => {
    const folder = folderWith(onTestFinished, undefined);
    mkdirSync(join(folder, '.keyturn'));
    writeFileSync(join(folder, '.keyturn/secrets'), 'not a folder');
    const words = await keyturn(onTestFinished, folder, ['rotate', 'hook']);
    expect(words).toMatchObject({ code: 1, stdout: '' });
    expect(words.stderr).toContain(join(folder, '.keyturn/secrets'));
    const json = await keyturn(onTestFinished, folder, ['rotate', 'hook', '--json']);
    expect(errorDocument(json).exit).toBe(1);
    expectClean(words, json);
  });

  it('a journal that is no database: exit 1, and it is left as it is', async ({ onTestFinished }) => {
    const folder = folderWith(onTestFinished, undefined);
    const journal = join(folder, '.keyturn/journal.db');
    mkdirSync(join(folder, '.keyturn'));
    writeFileSync(journal, 'this is no database, and longer than its header would be: '.repeat(40));
    const words = await keyturn(onTestFinished, folder, ['rotate', 'hook']);
    expect(words).toMatchObject({ code: 1, stdout: '' });
    expect(words.stderr).toContain(journal);
    const json = await keyturn(onTestFinished, folder, ['rotate', 'hook', '--json']);
    expect(errorDocument(json)).toMatchObject({ exit: 1, error: { code: 'journal-corrupt' } });
    expect(readFileSync(journal, 'utf8')).toMatch(/^this is no database/);
    expectClean(words, json);
  });

  it('help is no error, and names every command', async ({ onTestFinished }) => {
    const help = await keyturn(onTestFinished, root, ['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const command of [
      'demo',
      'init',
      'check',
      'adopt',
      'rotate',
      'run',
      'plan',
      'status',
      'abort',
      'forget',
      'confirm',
    ]) {
      expect(help.stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
  });
});
