// The text of a unit file or a drop-in as systemd reads it (systemd.syntax(7), and its conf-parser.c and
// extract-word.c where that leaves a choice). Pure.

export interface Setting {
  readonly key: string;
  readonly value: string;
}

/** Settings in their order; a line that is none is a setting without a key. */
export function settingsIn(text: string): Setting[] {
  // How several of them in a row count is systemd's to say.
  const settings: Setting[] = /[\r\0]/.test(text) ? [{ key: '', value: '' }] : [];
  for (const line of linesOf(text)) {
    if (/^\[[^\]]*\]$/.test(line)) continue; // in whichever section: of each setting there is one meaning
    const at = line.indexOf('=');
    settings.push(
      at < 0 ? { key: '', value: line } : { key: strip(line.slice(0, at)), value: strip(line.slice(at + 1)) },
    );
  }
  return settings;
}

/** A line ends at a line feed, a carriage return or a zero, and goes on behind a backslash; comments in between do not end it. */
function linesOf(text: string): string[] {
  const lines: string[] = [];
  let begun = '';
  for (const raw of text.replace(/^\uFEFF/, '').split(/[\n\r\0]/)) {
    const line = raw.replace(/^[ \t]+/, '');
    if (/^[#;]/.test(line)) continue;
    const isOpen = endsInEscape(line);
    begun += isOpen ? `${line.slice(0, -1)} ` : line;
    if (isOpen) continue;
    lines.push(strip(begun));
    begun = '';
  }
  return [...lines, strip(begun)].filter((line) => line !== '');
}

function endsInEscape(line: string): boolean {
  let backslashes = 0;
  while (line[line.length - 1 - backslashes] === '\\') backslashes += 1;
  return backslashes % 2 === 1;
}

/** What systemd takes for white space, and nothing else. */
function strip(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && SPACE.has(text[from]!)) from += 1;
  while (to > from && SPACE.has(text[to - 1]!)) to -= 1;
  return text.slice(from, to);
}

const SPACE: ReadonlySet<string> = new Set(' \t\n\r');

export interface Command {
  /** Before the program: any of `-@:+!|`. */
  readonly prefix: string;
  /** undefined where only systemd knows what it will be: a specifier, a variable, an escape, a quote that is not closed. */
  readonly program: string | undefined;
}

/** The commands of an Exec…= setting, which a semicolon of its own stands between. */
export function commandsIn(value: string): Command[] {
  const commands: Command[] = [];
  let isFirst = true;
  for (const { raw, text, isWhole } of wordsIn(value)) {
    if (raw === ';') isFirst = true;
    else if (isFirst) {
      const [, prefix = '', program = ''] = /^([-@:+!|]*)(.*)$/s.exec(text)!;
      const isKnown = isWhole && program !== '' && !raw.includes('\\') && !/[%$]/.test(program);
      commands.push({ prefix, program: isKnown ? program : undefined });
      isFirst = false;
    } else if (!isWhole) {
      commands.push({ prefix: '', program: undefined });
    }
  }
  return commands;
}

interface Word {
  readonly raw: string;
  /** Without its quotes. */
  readonly text: string;
  /** Whether its quotes are closed. */
  readonly isWhole: boolean;
}

/** Words, parts of which may be quoted; a backslash keeps the next character from meaning anything. */
export function wordsIn(value: string): Word[] {
  const words: Word[] = [];
  let [raw, text, quote] = ['', '', ''];
  const end = (): void => {
    if (raw !== '') words.push({ raw, text, isWhole: quote === '' });
    [raw, text, quote] = ['', '', ''];
  };
  for (let i = 0; i < value.length; i++) {
    const character = value[i]!;
    if (quote === '' && SPACE.has(character)) {
      end();
      continue;
    }
    raw += character;
    if (character === '\\') {
      raw += value[i + 1] ?? '';
      text += value[++i] ?? '';
    } else if (quote !== '' && character === quote) quote = '';
    else if (quote === '' && /["']/.test(character)) quote = character;
    else text += character;
  }
  end();
  return words;
}
