import { Option, type Command } from 'commander';
import { KeyturnError } from '../model/errors.ts';

/** Commands that are due later: they say so instead of being unknown. */
export const laterCommands: readonly string[] = [
  'supply',
  ...['drift', 'sign', 'verify', 'diagnose', 'serve', 'agent', 'completion'],
];

/** Options of commands that are there, due later too. */
const laterOptions: Readonly<Record<string, readonly string[]>> = {
  init: ['--recipe <name>'],
};

/** Makes the program know what is due later; help shows none of it. */
export function addLater(program: Command, act: (run: () => never) => (...received: unknown[]) => Promise<void>): void {
  for (const name of laterCommands) {
    const command = program.command(name, { hidden: true }).allowUnknownOption().argument('[any...]');
    command.action(act(() => refuseLater(`keyturn ${name}`)));
  }
  for (const command of program.commands) {
    for (const flags of laterOptions[command.name()] ?? []) command.addOption(new Option(flags).hideHelp());
  }
}

/** Throws `not-in-this-version` where one of the options was given. */
export function refuseLaterOptions(command: Command): void {
  for (const flags of laterOptions[command.name()] ?? []) {
    const option = new Option(flags);
    if (command.getOptionValue(option.attributeName()) !== undefined) {
      refuseLater(`keyturn ${command.name()} ${option.long ?? flags}`);
    }
  }
}

function refuseLater(what: string): never {
  throw new KeyturnError('not-in-this-version', `${what} is not in this version of keyturn.`, {
    hint: 'keyturn --help lists what is.',
  });
}
