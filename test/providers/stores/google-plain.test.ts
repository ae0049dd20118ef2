import { describe, expect, it } from 'vitest';
import { GooglePlainCopies } from '../../../providers/stores/google/plain.ts';
import type { Wanted } from '../../../providers/stores/key.ts';
import type { GoogleVersions, Numbered } from '../../../providers/stores/google/versions.ts';

/** One copy whose numbers are as a test needs them. */
class Made {
  readonly label = 'made';
  readonly texts: (string | null)[] = [];
  /** Right before the next version is added. */
  beforeAdd: (() => void) | null = null;

  async access(_: Wanted, number: number): Promise<Numbered> {
    const text = this.texts[number - 1];
    if (text === undefined) return { state: 'none' };
    return text === null ? { state: 'closed' } : { state: 'open', text };
  }

  async list(): ReturnType<GoogleVersions['list']> {
    if (this.texts.length === 0) return null;
    return this.texts.map((text, index) => ({ number: index + 1, isDestroyed: text === null }));
  }

  async secret(): ReturnType<GoogleVersions['secret']> {
    return this.texts.length === 0 ? 'absent' : {};
  }

  async create(): Promise<boolean> {
    return this.texts.length === 0;
  }

  async add(_: Wanted, text: string): Promise<number> {
    const before = this.beforeAdd;
    this.beforeAdd = null;
    before?.();
    return this.texts.push(text);
  }
}

function copiesOf(...texts: readonly (string | null)[]): { made: Made; copies: GooglePlainCopies } {
  const made = new Made();
  made.texts.push(...texts);
  return { made, copies: new GooglePlainCopies(made as unknown as GoogleVersions, {}) };
}

function merging(property: string): (present: string | null) => string {
  return (present) => JSON.stringify({ ...(JSON.parse(present ?? '{}') as object), [property]: 1 });
}

describe('plain copies that are read as the newest number, whatever became of it', () => {
  it('take in who came between, and take nothing away', async () => {
    const { made, copies } = copiesOf('{"a":1}');
    made.beforeAdd = () => made.texts.push('{"a":1,"theirs":1}');
    await copies.write('copy', merging('mine'));
    expect(made.texts).toEqual(['{"a":1}', '{"a":1,"theirs":1}', '{"a":1,"mine":1}', '{"a":1,"theirs":1,"mine":1}']);
  });

  it('are left as they are where a call arrived twice', async () => {
    const { made, copies } = copiesOf();
    made.beforeAdd = () => made.texts.push('value');
    await copies.write('copy', () => 'value');
    expect(made.texts).toEqual(['value', 'value']);
  });

  it('get another one on top where the newest is closed, made from the one below', async () => {
    const { made, copies } = copiesOf('{"theirs":1,"mine":1}', null);
    expect(await copies.read('copy')).toBeNull();
    await copies.write('copy', merging('mine'));
    expect(made.texts).toEqual(['{"theirs":1,"mine":1}', null, '{"theirs":1,"mine":1}']);
    expect(await copies.read('copy')).toBe('{"theirs":1,"mine":1}');
  });

  it('are not written where nothing changes', async () => {
    const { made, copies } = copiesOf('value');
    await copies.write('copy', () => 'value');
    expect(made.texts).toEqual(['value']);
  });
});
