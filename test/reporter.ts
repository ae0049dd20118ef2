import { writeSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, TestRunEndReason, TestSuite } from 'vitest/node';
import { conformanceTable } from './conformance/table.ts';
import { serverLines } from './servers/lines.ts';

interface Totals {
  passed: number;
  failed: number;
  readonly skipped: TestCase[];
}

/**
 * Ends the output of a run with the line `N passed, N failed, N skipped`, whatever happened, and names before it what each
 * secret store keeps of the conformance suite, the servers that were used, and the skipped tests. A file that cannot be loaded, a suite whose hook throws, a test that never ended and an error outside any
 * test count as failed.
 */
export default class ClosingLine implements Reporter {
  #lines: readonly string[] = ['0 passed, 1 failed, 0 skipped'];

  onInit(): void {
    process.once('exit', () => {
      for (const line of this.#lines) writeSync(process.stdout.fd, `${line}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[], reason: TestRunEndReason): void {
    const totals: Totals = { passed: 0, failed: unhandled.length, skipped: [] };
    for (const module of modules) count(module, totals);
    // A run that failed for another reason, such as finding no test at all, must not look like a success.
    if (reason !== 'passed' && totals.failed === 0) totals.failed = 1;
    this.#lines = [
      ...conformanceTable(modules),
      ...serverLines(),
      ...totals.skipped.map(describeSkipped),
      `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped.length} skipped`,
    ];
  }
}

function count(parent: TestModule | TestSuite, totals: Totals): void {
  if (parent.errors().length > 0) totals.failed += 1;
  for (const child of parent.children) {
    if (child.type === 'suite') count(child, totals);
    else countTest(child, totals);
  }
}

function countTest(test: TestCase, totals: Totals): void {
  const { state } = test.result();
  if (state === 'passed') totals.passed += 1;
  else if (state === 'skipped') totals.skipped.push(test);
  else totals.failed += 1;
}

function describeSkipped(test: TestCase): string {
  return `skipped: ${test.module.relativeModuleId} > ${test.fullName}: ${reasonFor(test)}`;
}

function reasonFor(test: TestCase): string {
  const result = test.result();
  if (result.state === 'skipped' && result.note !== undefined) return result.note;
  if (test.options.mode === 'todo') return 'not written yet';
  for (let parent: TestCase['parent'] = test.parent; ; parent = parent.parent) {
    if (parent.errors().length > 0) return 'what its suite prepares failed';
    if (parent.type === 'module') return 'no reason given';
  }
}
