// What stands in an agent's journal, read off its disk as the next agent would.
import { Journal } from '../../agent/journal/journal.ts';
import { createSeal } from '../../agent/secrets/seal.ts';

/** @throws Error when a part of it is damaged, not counting a last line that was cut off. */
export function journalIn(stateDir: string): Journal {
  const journal = new Journal(stateDir, createSeal(stateDir));
  const damaged = journal.load();
  if (damaged.length > 0) throw new Error(`the journal is damaged: ${damaged.join(', ')}`);
  return journal;
}

export function intentsIn(stateDir: string): string[] {
  const journal = journalIn(stateDir);
  return journal.keys().filter((key) => journal.intent(key) !== undefined);
}
