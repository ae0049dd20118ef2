/**
 * The samples of a text in Prometheus's format, by `name{label="value",…}`. Stricter than Prometheus is: each metric has
 * its help and its type before its samples, all of them together, none twice, and none with a time, which the node
 * exporter refuses.
 */
export function parseMetrics(text: string): ReadonlyMap<string, number> {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const samples = new Map<string, number>();
  const done = new Set<string>();
  let present = '';
  let typed = false;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, name = '', words = ''] = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      if (done.has(name)) throw new Error(`${name} comes twice`);
      if (/\\(?![\\n])/.test(words)) throw new Error(`bad escape: ${line}`);
      done.add(name);
      [present, typed] = [name, false];
    } else if (keyword === 'TYPE') {
      if (name !== present || typed) throw new Error(`a type out of place: ${line}`);
      if (words !== 'gauge' && words !== 'counter') throw new Error(`no such type: ${line}`);
      typed = true;
    } else {
      const { series, value } = sampleOf(line);
      if (!typed || (series !== present && !series.startsWith(`${present}{`))) throw new Error(`out of place: ${line}`);
      if (samples.has(series)) throw new Error(`twice: ${series}`);
      samples.set(series, value);
    }
  }
  return samples;
}

const label = /[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"/.source;
const sample = new RegExp(
  `^([a-zA-Z_:][\\w:]*(?:\\{${label}(?:,${label})*\\})?) ([+-]?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`,
);

function sampleOf(line: string): { readonly series: string; readonly value: number } {
  const [, series, value] = sample.exec(line) ?? [];
  if (series === undefined) throw new Error(`no sample: ${line}`);
  return { series, value: Number(value) };
}
