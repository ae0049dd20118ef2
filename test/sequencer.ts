import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that take longest, which begin first: a long one that began last would keep one core busy and leave the others
 * with nothing to do.
 */
const longest = [
  'process/crash-matrix',
  'providers/stores/google',
  'process/leaks',
  'providers/stores/aws',
  'process/mistakes',
  'exhaustive/crashes',
  'process/stores',
  'exhaustive/interleavings',
  'process/torture',
  'process/people',
  'process/migrate',
  'providers/stores/vault',
  'orchestrator/crash',
];

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => place(a) - place(b));
  }
}

function place({ moduleId }: TestSpecification): number {
  const found = longest.findIndex((file) => moduleId.endsWith(`/${file}.test.ts`));
  return found === -1 ? longest.length : found;
}
