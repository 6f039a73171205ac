// Rows, and how they are told. Percentiles by the nearest-rank method: the smallest value that at least p % of all
// are not above.

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => percentile(values, 50);

export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** At most this; undefined for figures that are only told. */
  readonly budget?: number | undefined;
}

/** A percentile of each kind that is asked for, by its budget (undefined: told only). */
export function percentileRows(
  name: string,
  labels: string,
  values: readonly number[],
  unit: string,
  budgets: Readonly<Record<'p50' | 'p99', number | undefined>>,
): Row[] {
  return (['p50', 'p99'] as const).map((p) => ({
    name: `${name}_${p}${labels}`,
    value: percentile(values, Number(p.slice(1))),
    unit,
    budget: budgets[p],
  }));
}

/** What is not a number was not measured, and meets nothing. */
export function isMet({ value, budget }: Row): boolean {
  return budget === undefined || value <= budget;
}

/** `name value unit budget met|MISSED`. */
export function formatRow(row: Row): string {
  const { name, value, unit, budget } = row;
  const shown = Number.isInteger(value) ? String(value) : value < 10 ? value.toFixed(2) : value.toFixed(1);
  return `${name} ${shown} ${unit}${budget === undefined ? '' : ` ${budget} ${isMet(row) ? 'met' : 'MISSED'}`}`;
}
