/**
 * What `keyturn --help` says, and where each command's summary is written. It imports nothing: the help is what people
 * wait for most often, and loading the option parser would double the time.
 */

export type CommandName =
  | 'demo'
  | 'init'
  | 'practice'
  | 'check'
  | 'doctor'
  | 'adopt'
  | 'import'
  | 'export'
  | 'reveal'
  | 'migrate'
  | 'rotate'
  | 'run'
  | 'plan'
  | 'status'
  | 'history'
  | 'audit'
  | 'confirm'
  | 'abort'
  | 'hold'
  | 'unhold'
  | 'approve'
  | 'deny'
  | 'forget'
  | 'simulate';

export interface CommandWords {
  readonly usage: string;
  readonly summary: string;
}

/** In the order of the help. */
export const commandWords: Readonly<Record<CommandName, CommandWords>> = {
  demo: {
    usage: 'demo',
    summary: 'a real rotation on this machine, seen live, and the same traffic with a plain swap',
  },
  init: { usage: 'init', summary: 'write a starter policy with a practice upstream on this machine' },
  practice: { usage: 'practice', summary: 'start that practice upstream, with one receiver, until Ctrl-C' },
  check: { usage: 'check', summary: 'validate the policy and warn of unsafe settings; touches nothing outside' },
  doctor: {
    usage: 'doctor [secret...]',
    summary: 'reach stores, journal, usage log, upstreams; say what is wrong and what to do; changes nothing',
  },
  adopt: {
    usage: 'adopt <secret>',
    summary: 'take the value in use now as the primary, from --stdin, --file or --from-store',
  },
  import: { usage: 'import [file...]', summary: "take over versions from a file of JSON, or an env file's values" },
  export: { usage: 'export [secret...]', summary: 'write versions as JSON, or values as an env file' },
  reveal: { usage: 'reveal <secret>', summary: "show one version's value, at a terminal or in a new file" },
  migrate: {
    usage: 'migrate [secret...]',
    summary: 'take keyrings --from one store --to another; nothing is deleted',
  },
  rotate: {
    usage: 'rotate <secret...>',
    summary: 'start a rotation or join the live one; --wait follows it to its end',
  },
  run: {
    usage: 'run [secret...]',
    summary: 'the cron job: advance every live run, start what is due, exit; --watch stays',
  },
  plan: { usage: 'plan [secret...]', summary: 'what would happen next, each check with its reason; touches nothing' },
  status: { usage: 'status [secret...]', summary: 'versions, stages, uses, receivers, the live run with its checks' },
  history: { usage: 'history [secret...]', summary: 'runs and audit events, newest first: who, when, why' },
  audit: {
    usage: 'audit <verify|head|seal>',
    summary: 'verify that nobody changed the audit trail; head prints its end, to verify against later',
  },
  confirm: {
    usage: 'confirm <secret>',
    summary: 'say that the upstream has the new value, where no traffic can show it',
  },
  abort: {
    usage: 'abort <secret>',
    summary: 'go back to the value that the run began with, before or after the switch',
  },
  hold: { usage: 'hold <secret>', summary: 'stop the run at its next gate, with every version accepted' },
  unhold: {
    usage: 'unhold <secret>',
    summary: 'let a held or timed-out run go on; --accept CHECK overrules one check',
  },
  approve: { usage: 'approve <secret>', summary: 'approve the switch, or later the revocation' },
  deny: { usage: 'deny <secret>', summary: 'refuse it: before the switch the run ends, after it the run is held' },
  forget: { usage: 'forget <receiver>', summary: 'say that a receiver which stopped reporting is gone for good' },
  simulate: {
    usage: 'simulate [secret...]',
    summary: 'what would become of this policy in many rotations with faults; touches nothing outside',
  },
};

/** Options that every command takes: flags and what they do. */
export const globalOptions = {
  policy: ['--policy <file>', 'the policy; else KEYTURN_POLICY, else ./rotation-policy.json'],
  env: ['--env <name>', 'only this environment; else KEYTURN_ENV'],
  tenant: ['--tenant <name>', 'only this tenant'],
  json: ['--json', 'one JSON document on stdout, or one object a line where it streams'],
  quiet: ['--quiet', 'no progress, only results and errors'],
  verbose: ['--verbose', 'what happens inside, on stderr'],
  color: ['--no-color', 'no colours'],
} as const;

const tagline = 'Rotates shared secrets while messages keep flowing, and shows at every step why the next one is safe.';

/** True for a command line that asks for nothing but the help of keyturn itself. */
export function asksForHelp(argv: readonly string[]): boolean {
  const [first, ...rest] = argv;
  return rest.length === 0 && (first === '--help' || first === '-h' || first === 'help');
}

export function helpText(): string {
  const commands = Object.values(commandWords).map(({ usage, summary }) => [usage, summary] as const);
  const options = [...Object.values(globalOptions), ['--version', 'print the version'] as const];
  const width = Math.max(...[...commands, ...options].map(([left]) => left.length));
  const lines = (rows: readonly (readonly [string, string])[]): string =>
    rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join('');
  return (
    `Usage: keyturn <command> [options]\n\n${tagline}\n\n` +
    `Commands:\n${lines(commands)}\nOptions of every command:\n${lines(options)}\n` +
    `keyturn <command> --help tells a command's own options. To begin: keyturn demo, or keyturn init.\n`
  );
}
