import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './support/free-port.ts';
import { leaks } from './support/leaks.ts';
import type { Finished, Later } from './support/processes.ts';
import { answers } from './support/upstream.ts';
import { temporaryFolder, traceLines, type CliOptions, World } from './support/world.ts';

/** One mistake with one command, and what its user reads. Where nothing else is said, it is on stderr, as an error is. */
interface Mistake {
  readonly command: string;
  readonly mistake: string;
  readonly args: readonly string[];
  readonly exit: number;
  /** What the first line says: it names the thing. */
  readonly says: RegExp;
  /** What a later line suggests. */
  readonly suggests: RegExp;
  /** A result that is no error of the command itself: one secret's failure is part of what it tells. */
  readonly on?: 'stdout';
  readonly in?: 'no policy' | 'newer policy' | 'environments';
  readonly policy?: string;
  readonly input?: string;
  /** As somebody whose files they are not. */
  readonly asNobody?: true;
}

const because = ['--reason', 'x'] as const;
const toSpare = ['--from', 'local', '--to', 'spare'] as const;
const foreignRun = 'rzzzzzzzzzz';
const someValue = 'a-value-to-take-over-9c41e7';

/** Every command, as somebody types it about a secret of that name. */
const commands: Readonly<Record<string, (secret: string) => readonly string[]>> = {
  adopt: (secret) => ['adopt', secret, '--stdin'],
  rotate: (secret) => ['rotate', secret],
  'rotate --compromised': (secret) => ['rotate', secret, '--compromised', '--yes'],
  'rotate --take-over': (secret) => ['rotate', secret, '--take-over', foreignRun],
  run: (secret) => ['run', secret],
  plan: (secret) => ['plan', secret],
  status: (secret) => ['status', secret],
  history: (secret) => ['history', secret],
  confirm: (secret) => ['confirm', secret],
  abort: (secret) => ['abort', secret, ...because],
  hold: (secret) => ['hold', secret, ...because],
  unhold: (secret) => ['unhold', secret, ...because],
  'unhold --accept': (secret) => ['unhold', secret, '--accept', 'grace', ...because],
  approve: (secret) => ['approve', secret],
  deny: (secret) => ['deny', secret, ...because],
  export: (secret) => ['export', secret],
  reveal: (secret) => ['reveal', secret, '--stage', 'primary', '--out', 'never-made'],
  simulate: (secret) => ['simulate', secret, '--runs', '1'],
  doctor: (secret) => ['doctor', secret],
  migrate: (secret) => ['migrate', secret, ...toSpare],
};

/** Those that are about no secret in particular, or name it elsewhere. */
const otherCommands: Readonly<Record<string, readonly string[]>> = {
  check: ['check'],
  forget: ['forget', 'nobody', ...because],
  'history --prune': ['history', '--prune'],
  import: ['import', '--dotenv', 'values.env', 'HOOK=plain'],
  'audit verify': ['audit', 'verify'],
  'audit head': ['audit', 'head'],
  'audit seal': ['audit', 'seal', ...because],
};

/** The same mistake with all of these commands. */
function withAll(
  mistake: string,
  names: readonly (readonly [string, readonly string[]])[],
  rest: Omit<Mistake, 'command' | 'mistake' | 'args'>,
): readonly Mistake[] {
  return names.map(([command, args]) => ({ command, mistake, args, ...rest }));
}

function about(secret: string, without: readonly string[] = []): readonly (readonly [string, readonly string[]])[] {
  return Object.entries(commands).flatMap(([command, args]) =>
    without.includes(command) ? [] : [[command, args(secret)] as const],
  );
}

const withoutPolicy: readonly Mistake[] = [
  ...withAll('no policy', [...about('plain', ['status']), ...Object.entries(otherCommands)], {
    in: 'no policy',
    exit: 2,
    says: /^keyturn: There is no policy \/.*rotation-policy\.json\.$/,
    suggests: /keyturn init/,
  }),
  ...withAll('a policy of a newer version', [...about('plain'), ...Object.entries(otherCommands)], {
    in: 'newer policy',
    exit: 2,
    says: /^keyturn: The policy \/.*rotation-policy\.json has a problem:$/,
    suggests: /version: is 2, and this keyturn reads policies of version 1: use a newer keyturn/,
  }),
];

// `rotate` and `status` with such names are in bad-input.test.ts.
const wrongNames: readonly Mistake[] = [
  ...withAll('a secret that the policy does not have', about('plian', ['rotate', 'status']), {
    exit: 2,
    says: /^keyturn: The policy \/.* has no secret plian\.$/,
    suggests: /Did you mean plain\?/,
  }),
  ...withAll('a name that stands for two secrets', about('hook', ['rotate']), {
    in: 'environments',
    exit: 2,
    says: /^keyturn: The name hook stands for several secrets: live\/hook, test\/hook\.$/,
    suggests: /--env/,
  }),
  {
    command: 'import',
    mistake: 'a secret that the policy does not have',
    args: ['import', '--dotenv', 'values.env', 'HOOK=plian'],
    exit: 2,
    says: /^keyturn: .*values\.env/,
    suggests: /HOOK: .*no secret plian\. Did you mean plain\?/,
  },
  {
    command: 'import',
    mistake: 'a name that stands for two secrets',
    args: ['import', '--dotenv', 'values.env', 'HOOK=hook'],
    in: 'environments',
    exit: 2,
    says: /^keyturn: .*values\.env/,
    suggests: /HOOK: .*live\/hook.*--env/,
  },
];

const moves = ['hold', 'unhold', 'unhold --accept', 'approve', 'deny'];

const wrongStates: readonly Mistake[] = [
  ...withAll(
    'no live run',
    about('plain').filter(([command]) => moves.includes(command)),
    { exit: 1, says: /^keyturn: plain is not being rotated\.$/, suggests: /keyturn rotate plain/ },
  ),
  ...withAll(
    'nobody is asked for approval',
    about('waiting').filter(([command]) => command === 'approve' || command === 'deny'),
    { exit: 5, says: /^keyturn: Run r\w+ of waiting asks for no approval/, suggests: /keyturn hold waiting/ },
  ),
  ...withAll(
    'it has a value',
    [...about('plain').filter(([command]) => command === 'adopt'), ['import', otherCommands['import'] ?? []]],
    { exit: 5, input: someValue, says: /^keyturn: plain has a value already\.$/, suggests: /keyturn rotate plain/ },
  ),
  ...withAll(
    'nothing to take over',
    [
      ...about('plain').filter(([command]) => command === 'rotate --take-over'),
      ['abort --take-over', ['abort', 'plain', '--take-over', foreignRun, ...because]],
    ],
    {
      exit: 5,
      says: /^keyturn: The keyring of plain has no claim of run rzzzzzzzzzz/,
      suggests: /keyturn status plain/,
    },
  ),
  ...withAll(
    'no value yet',
    about('absent').filter(([command]) => command === 'export' || command === 'reveal'),
    { exit: 1, says: /^keyturn: absent has no primary version/, suggests: /keyturn (adopt|status) absent/ },
  ),
  {
    command: 'rotate --take-over',
    mistake: 'another run than the live one of this journal',
    args: ['rotate', 'waiting', '--take-over', foreignRun],
    exit: 5,
    says: /^keyturn: The keyring of waiting has no claim of run rzzzzzzzzzz/,
    suggests: /keyturn status waiting/,
  },
  {
    command: 'confirm',
    mistake: 'not yet switched',
    args: ['confirm', 'waiting'],
    exit: 5,
    says: /^keyturn: Run r\w+ of waiting is in step deploy: the upstream was not told yet/,
    suggests: /keyturn status waiting/,
  },
  {
    command: 'hold',
    mistake: 'already held',
    args: ['hold', 'held', ...because],
    exit: 5,
    says: /^keyturn: \S+@\S+ holds run r\w+ of held already\.$/,
    suggests: /keyturn unhold held/,
  },
  {
    command: 'rotate',
    mistake: 'held',
    args: ['rotate', 'held'],
    on: 'stdout',
    exit: 5,
    says: /^held: held in step 2\/5 deploy\.$/,
    suggests: /held: \S+ holds the run .*keyturn unhold held/,
  },
  {
    command: 'rotate --compromised',
    mistake: 'held',
    args: ['rotate', 'held', '--compromised', '--yes'],
    exit: 5,
    says: /^keyturn: \S+@\S+ holds run r\w+ of held, and nothing passes a hold\.$/,
    suggests: /keyturn unhold held/,
  },
  {
    command: 'unhold --accept',
    mistake: 'a check that there is not',
    args: ['unhold', 'waiting', '--accept', 'rooster', ...because],
    exit: 2,
    says: /^keyturn: "rooster" is no check that a person can overrule\.$/,
    suggests: /roster, missing/,
  },
  {
    command: 'unhold --accept',
    mistake: 'a check that nobody can overrule',
    args: ['unhold', 'waiting', '--accept', 'effect-in-flight', ...because],
    exit: 2,
    says: /^keyturn: "effect-in-flight" is no check that a person can overrule\.$/,
    suggests: /roster, missing/,
  },
  {
    command: 'unhold --accept',
    mistake: 'a check of the other gate',
    args: ['unhold', 'waiting', '--accept', 'old-quiet', ...because],
    exit: 5,
    says: /^keyturn: The gate that run r\w+ of waiting waits at has no check old-quiet/,
    suggests: /keyturn status waiting/,
  },
  {
    command: 'abort',
    mistake: 'a first rotation after the switch',
    args: ['abort', 'first', ...because],
    exit: 5,
    says: /^keyturn: Run r\w+ of first cannot go back: it is the first rotation/,
    suggests: /keyturn rotate first/,
  },
  {
    command: 'abort',
    mistake: 'already revoked',
    args: ['abort', 'revoked', ...because],
    exit: 5,
    says: /^keyturn: Run r\w+ of revoked cannot go back: version v\w+ is revoked/,
    suggests: /keyturn rotate revoked/,
  },
  {
    command: 'reveal',
    mistake: 'no version in that stage',
    args: ['reveal', 'plain', '--stage', 'pending', '--out', 'never-made'],
    exit: 1,
    says: /^keyturn: plain has no pending version\.$/,
    suggests: /keyturn status plain/,
  },
  ...(['--compromised', '--take-over'] as const).map((option) => ({
    command: `rotate ${option}`,
    mistake: 'two secrets at once',
    args: ['rotate', 'plain', 'waiting', option, ...(option === '--take-over' ? [foreignRun] : ['--yes'])],
    exit: 2,
    says: new RegExp(`^keyturn: ${option} is for one secret at a time\\.$`),
    suggests: /Name the one/,
  })),
];

const noTerminal: readonly Mistake[] = [
  {
    command: 'rotate --compromised',
    mistake: 'no terminal to ask at',
    args: ['rotate', 'plain', '--compromised'],
    exit: 2,
    says: /^keyturn: A rotation of plain under compromise has to be confirmed/,
    suggests: /keyturn rotate plain --compromised --yes/,
  },
  {
    command: 'reveal',
    mistake: 'no terminal to show it at',
    args: ['reveal', 'plain', '--stage', 'primary'],
    exit: 2,
    says: /^keyturn: Values are shown at a terminal only/,
    suggests: /--out FILE/,
  },
  {
    command: 'export',
    mistake: 'no terminal to show it at',
    args: ['export', 'plain', '--show-values'],
    exit: 2,
    says: /^keyturn: Values are shown at a terminal only/,
    suggests: /--out FILE/,
  },
];

/**
 * Two policies over one journal. A run goes on with the policy it began with, but stores are opened as the policy at hand
 * has them: what lies elsewhere there is a keyring that is gone, and nothing is done.
 */
const otherPolicies: readonly Mistake[] = [
  ...withAll(
    'its store lies elsewhere in this policy',
    about('shared').filter(([command]) => command === 'rotate' || command === 'run'),
    {
      policy: 'elsewhere.json',
      on: 'stdout',
      exit: 5,
      says: /^shared: (failed|waiting) in step 2\/5 deploy\.$/,
      suggests: /The keyring of shared was there at revision \d+ and is gone[^]*Restore its document/,
    },
  ),
  {
    command: 'rotate --compromised',
    mistake: 'its store lies elsewhere in this policy',
    args: ['rotate', 'shared', '--compromised', '--yes'],
    policy: 'elsewhere.json',
    exit: 5,
    says: /^keyturn: The keyring of shared was there at revision \d+ and is gone from the store\.$/,
    suggests: /Restore its document/,
  },
  ...withAll(
    'its store lies elsewhere in this policy',
    about('shared').filter(([command]) => command === 'export' || command === 'reveal'),
    {
      policy: 'elsewhere.json',
      exit: 1,
      says: /^keyturn: shared has no primary version/,
      suggests: /keyturn (adopt|status) shared/,
    },
  ),
  ...withAll(
    'its store has another name in this policy',
    about('shared').filter(([command]) => command === 'rotate' || command === 'run'),
    {
      policy: 'renamed.json',
      on: 'stdout',
      exit: 2,
      says: /^shared: (failed|waiting) in step 2\/5 deploy\.$/,
      suggests: /has no store local[^]*A run keeps the store that it began with/,
    },
  ),
  ...withAll(
    'its store has another name in this policy',
    about('shared').filter(([command]) => command === 'abort' || command === 'confirm'),
    {
      policy: 'renamed.json',
      exit: 2,
      says: /^keyturn: The policy \/.*renamed\.json has no store local\.$/,
      suggests: /A run keeps the store that it began with/,
    },
  ),
  ...withAll(
    'its store lies elsewhere in this policy',
    about('shared').filter(([command]) => command === 'status'),
    {
      policy: 'elsewhere.json',
      on: 'stdout',
      exit: 0,
      says: /^shared: failed; no rotation is scheduled$/,
      suggests: /waits for keyring: The keyring of shared was there at revision \d+ and is gone from the store\./,
    },
  ),
  ...withAll(
    'its store has another name in this policy',
    about('shared').filter(([command]) => command === 'status'),
    {
      policy: 'renamed.json',
      on: 'stdout',
      exit: 0,
      says: /^shared: failed; no rotation is scheduled$/,
      suggests: /waits for store: The policy \/.*renamed\.json has no store local\./,
    },
  ),
  ...withAll('a live run of a secret that this policy does not have', about('shared'), {
    policy: 'without.json',
    exit: 2,
    says: /^keyturn: The policy \/.*without\.json has no secret shared\.$/,
    suggests: /Its secrets are plain|Did you mean/,
  }),
];

const twoStores: readonly Mistake[] = [
  ...(
    [
      [
        'a store that the policy does not have',
        ['local', 'spear'],
        2,
        /has no store spear\.$/,
        /local, spare, third, gone/,
      ],
      [
        'one store twice',
        ['local', 'local'],
        2,
        /^keyturn: The stores local and local are one/,
        /another one with --to/,
      ],
      ['two names of one store', ['spare', 'third'], 2, /spare and third are one and the same place/, /another one/],
      ['a store that it is not in', ['spare', 'gone'], 2, /^keyturn: plain is kept in the store local/, /--from local/],
      ['another keyring in the target', ['local', 'spare'], 5, /has a keyring of plain already/, /Look at both/],
      [
        'a target that does not answer',
        ['local', 'gone'],
        1,
        /cannot be reached|does not answer/,
        /address|network|policy/,
      ],
    ] as const
  ).map(([mistake, [from, to], exit, says, suggests]) => ({
    ...{ command: 'migrate', mistake, args: ['migrate', 'plain', '--from', from, '--to', to] },
    ...{ policy: 'stores.json', exit, says, suggests },
  })),
  {
    command: 'migrate',
    mistake: 'a live run',
    args: ['migrate', 'waiting', ...toSpare],
    policy: 'stores.json',
    exit: 5,
    says: /^keyturn: waiting is being rotated by run r\w+, and a run keeps the store it began with\.$/,
    suggests: /keyturn rotate waiting --wait, or keyturn abort waiting/,
  },
  {
    command: 'migrate',
    mistake: 'no target',
    args: ['migrate', 'plain', '--from', 'local'],
    exit: 2,
    says: /^keyturn: required option '--to <store>' not specified$/,
    suggests: /--help/,
  },
  {
    command: 'doctor',
    mistake: 'a receiver that is to write',
    args: ['doctor', '--as', 'receiver', '--write'],
    exit: 2,
    says: /^keyturn: A receiver writes to no store/,
    suggests: /keyturn doctor --as receiver/,
  },
  {
    command: 'doctor',
    mistake: 'a use that there is not',
    args: ['doctor', '--as', 'reader'],
    exit: 2,
    says: /^keyturn: option '--as <use>' argument 'reader' is invalid\. Allowed choices are orchestrator, receiver\.$/,
    suggests: /--help/,
  },
];

/** They open no journal, or go on without it. */
const ofPolicyAlone = ['check', 'simulate', 'doctor'];

const denied: readonly Mistake[] = [
  ...withAll(
    'the journal is somebody else’s',
    [...about('plain'), ...Object.entries(otherCommands)].filter(([command]) => !ofPolicyAlone.includes(command)),
    {
      asNobody: true,
      exit: 1,
      says: /^keyturn: .*\.keyturn.*/,
      suggests: /chown|permission|read and write|the user/,
    },
  ),
  {
    command: 'doctor',
    mistake: 'everything is somebody else’s',
    args: ['doctor', 'plain'],
    asNobody: true,
    on: 'stdout',
    exit: 1,
    says: /^credentials$/,
    suggests:
      /✗ open +The journal [^]*✗ \w+ +The usage log [^]*To do, the most important first:[^]*journal: Let the user nobody read and write it/,
  },
  ...withAll(
    'the policy is somebody else’s',
    [['check', ['check']], ...about('plain').filter(([command]) => /^(?:rotate|run|simulate)$/.test(command))],
    {
      asNobody: true,
      policy: 'private.json',
      exit: 2,
      says: /^keyturn: .*private\.json/,
      suggests: /read|permission/,
    },
  ),
];

const someHead = `7:${'0123456789abcdef'.repeat(4)}`;

const audits: readonly Mistake[] = [
  {
    command: 'audit',
    mistake: 'nothing that can be done with it',
    args: ['audit', 'verifiy'],
    exit: 2,
    says: /^keyturn: "verifiy" is nothing that can be done with the audit trail\.$/,
    suggests: /verify, head, seal/,
  },
  ...(
    [
      [
        'audit verify',
        ['--head', '7:0123'],
        /^keyturn: "7:0123" is no head of an audit trail\.$/,
        /keyturn audit head/,
      ],
      [
        'audit verify',
        ['--head-file', 'values.env'],
        /^keyturn: What is in values\.env is no head/,
        /keyturn audit head/,
      ],
      ['audit verify', ['--head-file', 'nowhere'], /^keyturn: The head cannot be read: ENOENT/, /keyturn audit head/],
      [
        'audit verify',
        ['--head', someHead, '--head-file', 'x'],
        /^keyturn: --head and --head-file both/,
        /one of them/,
      ],
      ['audit head', because, /^keyturn: keyturn audit head takes no --reason\.$/, /--help/],
      ['audit seal', [], /^keyturn: keyturn audit seal needs a --reason\.$/, /audit trail/],
      [
        'audit seal',
        because,
        /^keyturn: The policy names no key to seal the audit trail with\.$/,
        /openssl rand[^]*auditKey/,
      ],
    ] as const
  ).map(([command, more, says, suggests]) => ({
    command,
    mistake: `with ${more.length === 0 ? 'nothing' : more.join(' ').replace(someHead, 'HEAD')}`,
    args: [...command.split(' '), ...more],
    exit: 2,
    says,
    suggests,
  })),
  {
    command: 'audit verify',
    mistake: 'a head of events that are not there',
    args: ['audit', 'verify', '--head', `999999:${'0'.repeat(64)}`],
    on: 'stdout',
    exit: 5,
    says: /^The audit trail of journal \S+ is not as it was written\.$/,
    suggests: /The given head is of event 999999, and the newest one here is \d+: the newest events were cut off/,
  },
  {
    command: 'audit verify',
    mistake: 'a head of another journal',
    args: ['audit', 'verify', '--head', `1:${'0'.repeat(64)}`],
    on: 'stdout',
    exit: 5,
    says: /^The audit trail of journal \S+ is not as it was written\.$/,
    suggests: /Event 1 is not the one that the given head is of/,
  },
  ...withAll(
    'an audit key that the trail is not sealed with',
    [
      ...about('absent').filter(([command]) => command === 'adopt'),
      ...about('plain').filter(([command]) => command === 'reveal'),
      ['audit verify', ['audit', 'verify']],
    ],
    {
      policy: 'keyed.json',
      input: someValue,
      exit: 5,
      says: /^keyturn: The audit trail of .* is not sealed with the key that the policy names/,
      suggests: /keyturn audit seal --reason/,
    },
  ),
  ...withAll(
    'an audit key that is not there',
    [...about('plain').filter(([command]) => ['rotate', 'run', 'status', 'history'].includes(command)), ...audited()],
    {
      policy: 'keyless.json',
      exit: 1,
      says: /^keyturn: The credential auditKey of the journal cannot be read: the file .*nowhere\.key does not exist\.$/,
      suggests: /Create it/,
    },
  ),
  ...withAll('an audit key that can be guessed', audited(), {
    policy: 'short.json',
    exit: 1,
    says: /^keyturn: The credential auditKey of the journal is shorter than 32 characters\.$/,
    suggests: /openssl rand -hex 32/,
  }),
];

function audited(): readonly (readonly [string, readonly string[]])[] {
  return Object.entries(otherCommands).filter(([command]) => command.startsWith('audit'));
}

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

const mistakes = [
  ...withoutPolicy,
  ...wrongNames,
  ...wrongStates,
  ...noTerminal,
  ...otherPolicies,
  ...audits,
  ...twoStores,
  ...(isRoot ? denied : []),
];

const title = isRoot ? 'mistakes' : 'mistakes (files of another user are skipped: only root can become somebody else)';

describe(title, { timeout: 240_000 }, () => {
  const closers: Parameters<Later>[0][] = [];
  const later: Later = (stop) => closers.push(stop);
  const rows: (readonly string[])[] = [];
  const said: string[] = [];
  const folders = new Map<Mistake['in'], string>();
  let world: World;

  beforeAll(async () => {
    world = await World.open(later);
    const names = ['plain', 'absent', 'waiting', 'held', 'shared', 'first', 'revoked'];
    const secrets = Object.fromEntries(names.map((name) => [name, {}]));
    world.writePolicy({ secrets });
    const elsewhere = { kind: 'file', path: 'elsewhere' };
    world.writePolicy({ secrets, more: { stores: { local: elsewhere } } }, 'elsewhere.json');
    const renamed = { stores: { safe: elsewhere }, defaults: { store: 'safe' } };
    world.writePolicy({ secrets, more: renamed }, 'renamed.json');
    world.writePolicy({ secrets: { plain: {} } }, 'without.json');
    await writeStores(secrets);
    for (const [name, file] of [
      ['keyed.json', 'audit.key'],
      ['keyless.json', 'nowhere.key'],
      ['short.json', 'short.key'],
    ] as const) {
      world.writePolicy({ secrets, more: { journal: { kind: 'sqlite', auditKey: { file } } } }, name);
    }
    writeFileSync(join(world.folder, 'audit.key'), `${'0a1b2c3d'.repeat(8)}\n`, { mode: 0o600 });
    writeFileSync(join(world.folder, 'short.key'), 'an-audit-key', { mode: 0o600 });
    world.writePolicy({ secrets }, 'private.json');
    writeFileSync(join(world.folder, 'values.env'), `HOOK=${someValue}\n`);
    makeFolders();
    await Promise.all(['plain', 'waiting', 'held', 'shared', 'revoked'].map((name) => world.adopt(name)));
    await Promise.all([intoWaiting(), intoFirst(), intoRevoked()]);
    chmodSync(world.folder, 0o755);
    chmodSync(join(world.folder, 'private.json'), 0o600);
  }, 120_000);

  function makeFolders(): void {
    const good = JSON.parse(readFileSync(join(world.folder, 'rotation-policy.json'), 'utf8')) as { secrets: object };
    const [hook] = Object.values(good.secrets) as unknown[];
    const variants = {
      'no policy': null,
      'newer policy': { ...good, version: 2 },
      environments: { ...good, environments: { live: {}, test: {} }, secrets: { hook } },
    };
    for (const [name, policy] of Object.entries(variants)) {
      const folder = temporaryFolder(later);
      folders.set(name as keyof typeof variants, folder);
      writeFileSync(join(folder, 'values.env'), `HOOK=${someValue}\n`);
      if (policy !== null) writeFileSync(join(folder, 'rotation-policy.json'), JSON.stringify(policy));
    }
  }

  /** A policy with several stores, of which one has a keyring that is none of the first one's. */
  async function writeStores(secrets: Readonly<Record<string, object>>): Promise<void> {
    const gone = { kind: 'vault', address: `http://127.0.0.1:${String(await freePort())}`, timeout: '1s' };
    const auth = { kind: 'token', token: { env: 'HOOK_TOKEN' } };
    const stores = {
      local: { kind: 'file', path: '.keyturn/secrets' },
      spare: { kind: 'file', path: 'spare' },
      third: { kind: 'file', path: 'spare/' },
      gone: { ...gone, auth },
    };
    world.writePolicy({ secrets, more: { stores, defaults: { store: 'local' } } }, 'stores.json');
    world.writePolicy({ secrets, more: { stores, defaults: { store: 'spare' } } }, 'spare.json');
    const other = { policy: 'spare.json', input: 'another-value-in-the-spare-store-8d21' };
    expect(await world.run(['adopt', 'plain', '--stdin'], other)).toMatchObject({ code: 0 });
  }

  async function did(code: number, ...args: readonly string[]): Promise<void> {
    expect(await world.run(args), args.join(' ')).toMatchObject({ code });
  }

  /** Nobody receives, so these wait before the switch. */
  async function intoWaiting(): Promise<void> {
    await did(0, 'rotate', 'waiting', 'held', 'shared');
    await did(0, 'hold', 'held', ...because);
  }

  /** A first rotation that the upstream may have been told of. */
  async function intoFirst(): Promise<void> {
    world.hook('first').react(answers(500));
    await did(0, 'rotate', 'first');
    for (const check of ['roster', 'holding']) await did(0, 'unhold', 'first', '--accept', check, ...because);
    await did(1, 'rotate', 'first');
  }

  /** A rotation whose process died when the old version was revoked. */
  async function intoRevoked(): Promise<void> {
    const receiver = await world.startReceiver(['revoked']);
    world.hook('revoked').send(20, `${receiver.url}/revoked`);
    await world.moreDeliveries(3, 'revoked');
    const struck = await world.runStruckAt('purge-started:after', 'kill', ['rotate', 'revoked', '--wait']);
    expect(struck).toMatchObject({ signal: 'SIGKILL' });
    world.hook('revoked').send(0);
  }

  afterAll(async () => {
    for (const close of closers.reverse()) await close();
    process.stdout.write(`\nMistakes: what their user reads\n${table(rows)}\n\n`);
  });

  async function commit(mistake: Mistake): Promise<Finished> {
    const options: CliOptions = {
      ...(mistake.in === undefined ? {} : { cwd: folders.get(mistake.in) ?? '' }),
      ...(mistake.policy === undefined ? {} : { policy: mistake.policy }),
      ...(mistake.input === undefined ? {} : { input: mistake.input }),
      ...(mistake.asNobody === undefined ? {} : { uid: nobody }),
    };
    return world.run(mistake.args, options);
  }

  it.concurrent.for(mistakes.map((mistake) => [`${mistake.command}: ${mistake.mistake}`, mistake] as const))(
    '%s',
    async ([, mistake]) => {
      const done = await commit(mistake);
      const told = (mistake.on === 'stdout' ? done.stdout : done.stderr).trimEnd().split('\n');
      // Before it asks, a rotation under compromise says what it costs.
      const from = mistake.on === 'stdout' ? 0 : told.findIndex((line) => line.startsWith('keyturn: '));
      const [first = '', ...more] = told.slice(Math.max(from, 0));
      rows.push([mistake.command, mistake.mistake, String(done.code), first]);
      said.push(done.all);
      expect(done.code, done.all).toBe(mistake.exit);
      expect(first).toMatch(mistake.says);
      expect(more.join('\n')).toMatch(mistake.suggests);
      if (mistake.on === undefined) expect(done.stdout).toBe('');
      expect(traceLines(done.all)).toEqual([]);
      expect(done.all).not.toMatch(/undefined|\[object|NaN/);
    },
  );

  it('none of them showed a value, and nothing came of them', () => {
    const names = ['plain', 'waiting', 'held', 'shared', 'first', 'revoked'];
    const values = names.flatMap((name) => world.keyring(name).versions.flatMap(({ value }) => value ?? []));
    expect(values.length).toBeGreaterThan(names.length);
    expect(leaks([someValue, ...values], new Map([['what was said', said.join('\n')]]))).toEqual([]);
    expect(world.keyring('plain')).toMatchObject({ revision: 1, versions: [{ stage: 'primary' }] });
    expect(world.runs('plain')).toEqual([]);
    for (const name of ['waiting', 'held', 'shared']) {
      expect(world.runs(name), name).toMatchObject([{ state: 'live' }]);
      expect(world.keyring(name).versions, name).toMatchObject([{ stage: 'primary' }, { stage: 'pending' }]);
      expect(world.hook(name).calls, name).toEqual([]);
    }
    expect(world.refusals('revoked')).toEqual({});
  });
});

function table(rows: readonly (readonly string[])[]): string {
  const head = ['command', 'mistake', 'exit', 'first line'];
  const all = [head, ...rows.toSorted((one, other) => one.join().localeCompare(other.join()))];
  const widths = head.map((_, index) => Math.max(...all.map((row) => row[index]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((text, index) => (index === row.length - 1 ? text : text.padEnd(widths[index] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
