import { createInterface } from 'node:readline/promises';
import { KeyturnError } from '../model/errors.ts';
import type { Context } from './context.ts';

/** Asks a person at a terminal to type a word; throws `usage` where there is no terminal, or another word is typed. */
export async function mustType(context: Context, word: string, what: string, otherwise: string): Promise<void> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY || !stderr.isTTY) {
    throw new KeyturnError('usage', `${what} has to be confirmed, and there is no terminal to ask at.`, {
      hint: otherwise,
    });
  }
  const lines = createInterface({ input: stdin, output: stderr });
  try {
    const typed = await lines.question(`Type ${word} to go on: `, { signal: context.signal });
    if (typed.trim() === word) return;
  } finally {
    lines.close();
  }
  throw new KeyturnError('usage', `That was not ${word}; nothing was changed.`, { hint: otherwise });
}
