import type { TestCase, TestModule } from 'vitest/node';
import { secretStoreCases } from '../../src/testing/stores/suite.ts';
import type { ConformanceCell } from './secret-store.ts';

/**
 * What each secret store keeps of the suite: a row for each case, a column for each adapter. A case that was not run for an
 * adapter, because its place cannot do what it needs, is a dash. Nothing where no suite was run.
 */
export function conformanceTable(modules: readonly TestModule[]): readonly string[] {
  const cells = modules.flatMap((module) => [...module.children.allTests()].flatMap(cellOf));
  const adapters = [...new Set(cells.map(({ adapter }) => adapter))];
  if (adapters.length === 0) return [];
  const width = Math.max(...secretStoreCases.map(({ id }) => id.length));
  const rows = secretStoreCases.flatMap(({ id }) => {
    const marks = adapters.map(
      (adapter) => cells.find((cell) => cell.adapter === adapter && cell.case === id)?.mark ?? '-',
    );
    return marks.every((mark) => mark === '-') ? [] : [`${id.padEnd(width)}  ${columns(marks, adapters)}`];
  });
  const deviations = cells.flatMap(({ adapter, case: id, mark, why }) =>
    mark === 'deviates' ? [`  ${adapter}, ${id}: ${why ?? ''}`] : [],
  );
  return [
    'Secret stores and what they keep of the conformance suite:',
    `${''.padEnd(width)}  ${columns(adapters, adapters)}`,
    ...rows,
    ...(deviations.length === 0 ? [] : ['Known deviations of the servers, each seen in this run:', ...deviations]),
  ];
}

function columns(texts: readonly string[], adapters: readonly string[]): string {
  return texts
    .map((text, index) => text.padEnd(Math.max(8, adapters[index]?.length ?? 0)))
    .join('  ')
    .trimEnd();
}

interface Cell extends Omit<ConformanceCell, 'outcome'> {
  readonly mark: string;
}

function cellOf(test: TestCase): readonly Cell[] {
  const cell = test.meta().conformance;
  if (cell === undefined) return [];
  const mark = test.result().state === 'passed' ? cell.outcome : 'FAILED';
  return [{ ...cell, mark }];
}
