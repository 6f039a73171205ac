// Numbers and durations as people read them.

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** A duration for people: `45 s`, `12 min`, `3 h`, `5 days`. */
export function ago(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return count(Math.round(seconds / 86_400), 'day');
}

/** `1,480,221 bytes`. */
export function inBytes(bytes: number): string {
  return `${bytes.toLocaleString('en-US')} bytes`;
}
