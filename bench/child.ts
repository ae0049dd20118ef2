import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** A measured process. What it says is a line of JSON each. */
export interface Child {
  readonly answer: () => Promise<unknown>;
  /** Sends it a line, and resolves with what it says next. */
  readonly ask: (line: string) => Promise<unknown>;
}

/**
 * Runs a script of this folder as JavaScript, because what strips types takes memory and time as well; so it imports
 * nothing that is not Node's but by address. Its last argument is the job as JSON. It ends when its input does.
 */
export async function withChild<T>(
  script: string,
  job: object,
  work: (child: Child) => Promise<T>,
  env: Readonly<Record<string, string>> = {},
): Promise<T> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', asJavaScript(script), JSON.stringify(job)],
    { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } },
  );
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error('a measured process ended without its answer');
    return JSON.parse(value);
  };
  const ask = async (line: string): Promise<unknown> => {
    child.stdin.write(`${line}\n`);
    return answer();
  };
  try {
    return await work({ answer, ask });
  } finally {
    await end(child, ended);
  }
}

async function end(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
  child.stdin?.end();
  await ended;
}

function asJavaScript(script: string): string {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2024 };
  return ts.transpileModule(readFileSync(path, 'utf8'), { compilerOptions }).outputText;
}
