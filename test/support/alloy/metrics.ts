/**
 * Part of homeostat's stand-in for Grafana Alloy (it is not Alloy; see alloy.ts): counters, gauges and
 * histograms in Prometheus' text form. Series of a component live in a scope and go when it goes: a new
 * endpoint begins at 0 (recorded in wrong-path and wrong-port).
 */
export type Labels = Record<string, string>;

interface Series {
  name: string;
  labels: Labels;
  value: number;
}

export interface Histogram {
  observe(value: number, times?: number): void;
}

export class Metrics {
  readonly #scopes = new Set<Scoped>();

  scope(labels: Labels = {}): Scoped {
    const scope = new Scoped(labels, () => this.#scopes.delete(scope));
    this.#scopes.add(scope);
    return scope;
  }

  /** One line a series, families in the order of their names. */
  render(extra: Series[] = []): string {
    const series = [...[...this.#scopes].flatMap((scope) => scope.series()), ...extra];
    const families = Map.groupBy(series, ({ name }) => family(name));
    let out = '';
    for (const name of [...families.keys()].sort()) {
      const members = families.get(name)!;
      const type = members.some((one) => 'le' in one.labels) ? 'histogram' : 'gauge';
      out += `# TYPE ${name} ${name.endsWith('_total') ? 'counter' : type}\n`;
      for (const one of members) out += `${one.name}${braces(one.labels)} ${formatNumber(one.value)}\n`;
    }
    return out;
  }
}

export class Scoped {
  readonly #labels: Labels;
  readonly #series = new Map<string, Series>();
  readonly #dispose: () => void;

  constructor(labels: Labels, dispose: () => void) {
    this.#labels = labels;
    this.#dispose = dispose;
  }

  series(): Series[] {
    return [...this.#series.values()];
  }

  dispose(): void {
    this.#dispose();
  }

  /** Adds to a counter; adding 0 makes it appear. */
  add(name: string, amount: number, labels: Labels = {}): void {
    this.#get(name, labels).value += amount;
  }

  set(name: string, value: number, labels: Labels = {}): void {
    this.#get(name, labels).value = value;
  }

  value(name: string, labels: Labels = {}): number {
    return this.#get(name, labels).value;
  }

  /** Takes away every series that has these labels. */
  remove(labels: Labels): void {
    for (const [key, series] of this.#series) {
      if (Object.entries(labels).every(([name, value]) => series.labels[name] === value)) {
        this.#series.delete(key);
      }
    }
  }

  histogram(name: string, bounds: readonly number[], labels: Labels = {}): Histogram {
    const buckets = [...bounds, Number.POSITIVE_INFINITY];
    return {
      observe: (value, times = 1) => {
        for (const bound of buckets) {
          const le = formatNumber(bound);
          this.add(`${name}_bucket`, value <= bound ? times : 0, { ...labels, le });
        }
        this.add(`${name}_sum`, value * times, labels);
        this.add(`${name}_count`, times, labels);
      },
    };
  }

  #get(name: string, labels: Labels): Series {
    const all = { ...this.#labels, ...labels };
    const key = name + braces(all);
    let series = this.#series.get(key);
    if (!series) {
      series = { name, labels: all, value: 0 };
      this.#series.set(key, series);
    }
    return series;
  }
}

function family(name: string): string {
  return name.replace(/_(bucket|sum|count)$/, '');
}

function braces(labels: Labels): string {
  const names = Object.keys(labels).sort(
    (a, b) => Number(a === 'le') - Number(b === 'le') || (a < b ? -1 : 1),
  );
  if (names.length === 0) return '';
  const escaped = (value: string): string =>
    value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
  return `{${names.map((name) => `${name}="${escaped(labels[name]!)}"`).join(',')}}`;
}

/** As Go's %g with the shortest digits: an exponent from 1e+06 on and below 1e-04 (recorded: 1.048576e+06). */
function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (!Number.isFinite(value) || (power >= -4 && power < 6)) return String(value);
  return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}
