// What other programs said, short enough for a status. Pure.

const LIMIT = 2048;

/** The beginning of a long text, with how much is left out. */
export function clip(text: string, limit = LIMIT): string {
  const trimmed = text.trim();
  if (trimmed.length <= limit) return trimmed;
  return `${trimmed.slice(0, limit)}… (${trimmed.length - limit} more characters)`;
}
