/** One sample of a page in Prometheus's text format. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const sampleLine = /^(?<name>[a-zA-Z_:][\w:]*)(?:\{(?<labels>.*)\})? (?<value>\S+)$/;
const label = /^([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/;

/**
 * Every sample of a page (https://prometheus.io/docs/instrumenting/exposition_formats/). Throws on a line that is none, on a
 * sample whose metric has no TYPE, and on one that comes twice.
 */
export function parsePage(page: string): Sample[] {
  const types = new Map<string, string>();
  const seen = new Set<string>();
  return page.split('\n').flatMap((line) => {
    if (line === '') return [];
    if (line.startsWith('#')) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
      if (type) types.set(String(type[1]), String(type[2]));
      else if (!/^# (HELP|UNIT) /.test(line)) throw new Error(`not a comment of the format: ${line}`);
      return [];
    }
    const { name, labels = '', value } = sampleLine.exec(line)?.groups ?? {};
    if (name === undefined || Number.isNaN(Number(value?.replace('+Inf', 'Infinity')))) {
      throw new Error(`not a sample: ${line}`);
    }
    const family = name.replace(/_(bucket|sum|count)$/, '');
    if (!types.has(name) && types.get(family) !== 'histogram') throw new Error(`${name} has no TYPE`);
    const key = line.slice(0, line.lastIndexOf(' '));
    if (seen.has(key)) throw new Error(`${key} comes twice`);
    seen.add(key);
    return [{ name, labels: parseLabels(labels), value: Number(value) }];
  });
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = text; rest !== ''; ) {
    const [all = '', name = '', value = ''] = label.exec(rest) ?? [];
    if (all === '') throw new Error(`not labels: ${text}`);
    labels[name] = value;
    rest = rest.slice(all.length);
  }
  return labels;
}

/** The sum of the samples of `name` that have these labels; 0 where there are none. */
export function sumOf(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  return samples
    .filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}
