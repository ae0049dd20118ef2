import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../model/duration.ts';
import { realClock, realRandom } from '../ports/real.ts';
import { errorChain, errorFields, linesLog, peopleLog, silentLog, type Log } from '../ports/log.ts';
import { redacting, type RedactingLog } from '../ports/redact.ts';
import type { Context, GlobalOptions, Providers } from './context.ts';
import { exit, exitOfSignal, type Exit } from './exit.ts';
import { commandWords, globalOptions, helpText, type CommandName } from './help.ts';
import { addLater, refuseLaterOptions } from './later.ts';
import { Output } from './output.ts';
import type { Sink } from './sink.ts';
import { terminalOf, type TerminalSink } from './terminal.ts';

export interface Surroundings {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Sink;
  readonly stderr: TerminalSink;
  readonly signal: AbortSignal;
  readonly version: () => string;
}

type Run = (context: Context, args: readonly string[], options: Readonly<Record<string, unknown>>) => Promise<Exit>;

/** Runs one command line and resolves to its exit code; it never throws and never ends the process. */
export async function main(providers: Providers, around: Surroundings): Promise<Exit> {
  const wantsJson = around.argv.includes('--json');
  let code: Exit = exit.ok;
  const program = buildProgram(around, (run) => async (...received: unknown[]) => {
    const command = received.at(-1) as Command;
    const options = command.optsWithGlobals<GlobalOptions & Record<string, unknown>>();
    const context = contextOf(providers, around, options, command.name());
    try {
      refuseLaterOptions(command);
      code = await run(context, command.args, options);
      if (around.signal.aborted && code !== exit.ok) code = exitOfSignal(around.signal.reason);
    } catch (error) {
      code = around.signal.aborted ? interrupted(context, around.signal) : context.output.failure(error);
      tellStacks(context.log, error);
    }
  });
  try {
    await program.parseAsync(around.argv, { from: 'user' });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return exit.ok;
    if (wantsJson) {
      const isBare = error.code === 'commander.help';
      const message = isBare ? 'No command was given.' : error.message.replace(/^error: /, '');
      const body = { code: 'usage', message, hint: 'keyturn --help', problems: [] };
      around.stdout.write(`${JSON.stringify({ format: 'keyturn.error/1', exit: exit.usage, error: body }, null, 2)}\n`);
    }
    return exit.usage;
  }
}

function contextOf(providers: Providers, around: Surroundings, options: GlobalOptions, command: string): Context {
  const { stdout, stderr, env, signal } = around;
  const environment = options.env ?? env['KEYTURN_ENV'];
  const log = logFor(around, options);
  // The log's lines go to the same place.
  const terminal = options.verbose === true ? null : terminalOf(stderr, env, { color: options.color !== false });
  return {
    command,
    providers,
    options: { ...options, ...(environment === undefined ? {} : { env: environment }) },
    output: new Output({
      ...{ json: options.json === true, quiet: options.quiet === true, stdout, stderr, terminal },
      redacted: (text) => log.redacted(text),
    }),
    clock: realClock,
    random: realRandom,
    signal,
    log,
  };
}

/** For people, unless `KEYTURN_LOG=json` asks for lines for programs. */
function logFor({ stderr, env }: Surroundings, { verbose }: GlobalOptions): RedactingLog {
  if (verbose !== true) return redacting(silentLog);
  return redacting(env['KEYTURN_LOG'] === 'json' ? linesLog(stderr, realClock) : peopleLog(stderr, realClock));
}

/** Where it happened and what caused it, a line each, as far as no value shows in it. */
function tellStacks(log: Log, error: unknown): void {
  for (const each of errorChain(error)) {
    const stack = each instanceof Error ? each.stack : undefined;
    for (const line of (stack ?? String(errorFields(each)['error'])).split(/\n(?=\s+at )/)) log.debug(line);
  }
}

/** Whatever an interrupted command ran into, it is the interruption that ended it. */
function interrupted(context: Context, signal: AbortSignal): Exit {
  context.output.note('keyturn: Interrupted.');
  return exitOfSignal(signal.reason);
}

type Act = (run: Run) => (...received: unknown[]) => Promise<void>;

function buildProgram(around: Surroundings, act: Act): Command {
  const wantsJson = around.argv.includes('--json');
  const program = new Command('keyturn')
    .version(around.argv.includes('--version') ? around.version() : '', '--version', 'print the version')
    .helpOption('-h, --help', 'help for a command')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => around.stdout.write(text),
      writeErr: (text) => {
        if (!wantsJson) around.stderr.write(text.replace(/^error: /, 'keyturn: '));
      },
    })
    .showSuggestionAfterError()
    .showHelpAfterError('See keyturn --help, or keyturn COMMAND --help.')
    .enablePositionalOptions(false);
  addGettingStarted(program, act);
  addExchange(program, act);
  addRotation(program, act);
  addPersonMoves(program, act);
  addSimulation(program, act);
  addLater(program, act);
  for (const command of program.commands) addGlobals(command);
  program.helpInformation = helpText;
  return addGlobals(program);
}

function addGlobals(command: Command): Command {
  for (const [flags, words] of Object.values(globalOptions)) command.option(flags, words);
  return command;
}

/** A command with the name and summary of the help. */
function add(program: Command, name: CommandName): Command {
  const { usage, summary } = commandWords[name];
  return program.command(usage).description(summary);
}

function addGettingStarted(program: Command, act: Act): void {
  add(program, 'demo').action(act(async (context) => (await import('./commands/demo.ts')).demo(context)));
  add(program, 'init')
    .option('--yes', 'ask nothing; it never does in this version', false)
    .option('--force', 'replace a policy that is there', false)
    .action(act(async (context, _, options) => (await import('./commands/init.ts')).init(context, options)));
  add(program, 'practice').action(act(async (context) => (await import('./commands/practice.ts')).practice(context)));
  add(program, 'check')
    .option('--strict', 'exit with 2 where there is a warning', false)
    .action(act(async (...call) => (await import('./commands/check.ts')).check(...call)));
  add(program, 'doctor')
    .addOption(
      new Option('--as <use>', 'whose way is looked at').choices(['orchestrator', 'receiver']).default('orchestrator'),
    )
    .option('--write', 'also make a keyring that nobody needs in each store, and take it away again', false)
    .action(act(async (...call) => (await import('./commands/doctor.ts')).doctor(...call)));
  add(program, 'adopt')
    .option('--stdin', 'read it from standard input', false)
    .option('--file <path>', 'read it from a file')
    .option(
      '--from-store <key>',
      "read it from a plain copy in the secret's store: KEY, or KEY#PROPERTY of a JSON object",
    )
    .addOption(asIs())
    .addOption(skipDuplicateCheck())
    .addOption(lockTimeout())
    .action(act(async (...call) => (await import('./commands/adopt.ts')).adopt(...call)));
}

function addExchange(program: Command, act: Act): void {
  add(program, 'import')
    .option('--dotenv <file>', 'take values of an env file instead, each by NAME=SECRET; - is standard input')
    .option('--dry-run', 'show what would be imported; write nothing', false)
    .addOption(asIs())
    .addOption(skipDuplicateCheck())
    .addOption(lockTimeout())
    .action(act(async (...call) => (await import('./commands/import.ts')).importValues(...call)));
  const formats = ['active-secrets', 'dotenv', 'value'];
  add(program, 'export')
    .addOption(new Option('--format <format>', 'how it is written').choices(formats).default('active-secrets'))
    .option('--show-values', 'with the values; at a terminal, or with --out', false)
    .addOption(out())
    .action(act(async (...call) => (await import('./commands/export.ts')).exportValues(...call)));
  add(program, 'migrate')
    .addOption(new Option('--from <store>', 'the store that is left, by its name in the policy').makeOptionMandatory())
    .addOption(new Option('--to <store>', 'the store that is gone to').makeOptionMandatory())
    .option('--dry-run', 'judge everything; write nothing', false)
    .addOption(lockTimeout())
    .action(act(async (...call) => (await import('./commands/migrate.ts')).migrate(...call)));
  const stages = ['pending', 'primary', 'deprecated'];
  add(program, 'reveal')
    .addOption(new Option('--stage <stage>', 'of which version').choices(stages).makeOptionMandatory())
    .option('--id <version>', 'which one, where several are in that stage')
    .addOption(out())
    .action(act(async (...call) => (await import('./commands/reveal.ts')).reveal(...call)));
}

function asIs(): Option {
  return new Option('--as-is', 'take a value that looks like a mistake, because the upstream does use it').default(
    false,
  );
}

function skipDuplicateCheck(): Option {
  return new Option('--skip-duplicate-check', 'do not compare with the values of the other secrets').default(false);
}

function out(): Option {
  return new Option('--out <file>', 'write it to a new file that you alone may read');
}

function addRotation(program: Command, act: Act): void {
  add(program, 'rotate')
    .option('--wait [duration]', 'follow it until it ends, or for so long ("10m")')
    .addOption(reason())
    .option('--compromised', 'the value may be in wrong hands: wait at no gate, refuse what still uses it', false)
    .option('--yes', 'with --compromised: ask nothing', false)
    .option('--take-over <run>', 'go on with the run of a journal that is lost, as the message names it')
    .option('--detailed-exitcode', 'without --wait: 3 when waiting, 4 when it needs a person', false)
    .addOption(lockTimeout())
    .action(act(async (...call) => (await import('./commands/rotate.ts')).rotate(...call)));
  add(program, 'run')
    .option('--watch', 'stay, and visit again and again, until SIGTERM or Ctrl-C', false)
    .addOption(every())
    .option('--metrics-file <file>', 'write metrics there after each visit, as Prometheus reads them')
    .option('--detailed-exitcode', '3 when something waits, 4 when it needs a person', false)
    .action(act(async (...call) => (await import('./commands/run.ts')).run(...call)));
  add(program, 'plan')
    .option('--now', 'as if a rotation were started now', false)
    .action(act(async (...call) => (await import('./commands/plan.ts')).plan(...call)));
  add(program, 'history')
    .addOption(count('--limit <count>', 'how many runs and events of each secret', 20))
    .option('--prune', 'first remove the ended runs that the policy does not retain', false)
    .action(act(async (...call) => (await import('./commands/history.ts')).history(...call)));
  add(program, 'audit')
    .option('--head <head>', 'with verify: a head that was printed earlier, which has to be in it')
    .option('--head-file <file>', 'with verify: the same, from a file with what was printed')
    .option('--reason <text>', 'with seal: why, for the audit trail')
    .action(act(async (...call) => (await import('./commands/audit.ts')).audit(...call)));
  add(program, 'status').action(
    act(async (context, args) => (await import('./commands/status.ts')).status(context, args)),
  );
}

function addPersonMoves(program: Command, act: Act): void {
  const moves = async () => import('./commands/moves.ts');
  add(program, 'confirm')
    .addOption(reason())
    .action(act(async (...call) => (await moves()).confirm(...call)));
  add(program, 'abort')
    .addOption(reason().makeOptionMandatory())
    .option('--take-over <run>', 'the run of a journal that is lost, as the message names it')
    .addOption(lockTimeout())
    .action(act(async (...call) => (await moves()).abort(...call)));
  add(program, 'hold')
    .addOption(reason().makeOptionMandatory())
    .action(act(async (...call) => (await moves()).hold(...call)));
  add(program, 'unhold')
    .addOption(reason().makeOptionMandatory())
    .option('--accept <check>', 'a check of the present gate to overrule, by its name')
    .action(act(async (...call) => (await moves()).unhold(...call)));
  add(program, 'approve')
    .addOption(reason())
    .action(act(async (...call) => (await moves()).approve(...call)));
  add(program, 'deny')
    .addOption(reason().makeOptionMandatory())
    .action(act(async (...call) => (await moves()).deny(...call)));
  add(program, 'forget')
    .addOption(reason().makeOptionMandatory())
    .action(act(async (...call) => (await moves()).forget(...call)));
}

function addSimulation(program: Command, act: Act): void {
  add(program, 'simulate')
    .addOption(count('--runs <count>', 'how many rotations in all; 100, and 1 with --trace', null))
    .addOption(seed())
    .addOption(
      new Option('--faults <level>', 'how much goes wrong').choices(['none', 'usual', 'hard']).default('usual'),
    )
    .option('--trace', 'print all that happens', false)
    .action(act(async (...call) => (await import('./commands/simulate.ts')).simulateSecrets(...call)));
}

function seed(): Option {
  return new Option('--seed <number>', 'of the first rotation, to repeat it; else a random one').argParser((text) => {
    const number = Number(text);
    if (/^\d{1,15}$/.test(text)) return number;
    throw new InvalidArgumentError('It is no whole number from 0 to 999999999999999.');
  });
}

function reason(): Option {
  return new Option('--reason <text>', 'why, for the audit trail');
}

function count(flags: string, words: string, usual: number | null): Option {
  const option = new Option(flags, words).argParser((text) => {
    if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('It is no whole number from 1 to 9999999.');
    return Number(text);
  });
  return usual === null ? option : option.default(usual);
}

function every(): Option {
  return new Option('--every <duration>', 'with --watch: how often; 10s, and sooner where it is known when').argParser(
    (text) => {
      const ms = parseDuration(text);
      if (ms === null || ms < 100) throw new InvalidArgumentError('It is no duration like 500ms, 30s or 15m.');
      return ms;
    },
  );
}

function lockTimeout(): Option {
  return new Option('--lock-timeout <duration>', 'how long to wait while another process moves the secret')
    .default(10_000, '10s')
    .argParser((text) => {
      const ms = parseDuration(text);
      if (ms === null) throw new InvalidArgumentError('It is no duration like 500ms, 30s or 15m.');
      return ms;
    });
}
