// Percentiles by the nearest-rank method: the smallest value that at least p % of all are not above.

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** At most this; undefined for figures that are only told. */
  readonly budget?: number;
}

/** `name value unit budget met|MISSED`. */
export function formatRow({ name, value, unit, budget }: Row): string {
  const shown = value < 10 ? value.toFixed(2) : value.toFixed(1);
  const verdict = budget === undefined ? '' : ` ${budget} ${value <= budget ? 'met' : 'MISSED'}`;
  return `${name} ${shown} ${unit}${verdict}`;
}
