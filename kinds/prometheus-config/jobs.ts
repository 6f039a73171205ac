// Names of scrape jobs in YAML text, without reading the YAML: plain, quoted, in flow style, in CRLF. Pure.

export interface NamedJob {
  readonly name: string;
  /** From 1. */
  readonly line: number;
}

const JOB =
  /(^|[\s{,-])(["']?)job_name\2\s*:\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|(?=([^\s"'][^\r\n]*)))/g;

/** Every job that is named in the text; what is commented out does not count. */
export function jobsIn(text: string): NamedJob[] {
  return text.split('\n').flatMap((raw, i) => {
    const line = withoutComment(raw.replace(/\r$/, ''));
    return [...line.matchAll(JOB)].map(({ 1: before, 3: double, 4: single, 5: plain, index }) => {
      // In flow style a plain name ends at a comma or a bracket; elsewhere both may be part of it.
      const isFlow = before === '{' || before === ',' || /[{,]\s*$/.test(line.slice(0, index + 1));
      const end = isFlow ? /[,}\]]/ : /,\s*$/;
      const name = double ?? single?.replaceAll("''", "'") ?? plain!.split(end)[0]!;
      return { name: name.trim(), line: i + 1 };
    });
  });
}

/** A "#" begins a comment at the start of a line and after white space, outside of quotes. */
function withoutComment(line: string): string {
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const character = line[i]!;
    if (quote !== '') {
      if (character === '\\' && quote === '"') i += 1;
      else if (character === quote) quote = '';
    } else if (character === '#' && (i === 0 || /\s/.test(line[i - 1]!))) {
      return line.slice(0, i);
    } else if ((character === '"' || character === "'") && (i === 0 || /[\s:[{,-]/.test(line[i - 1]!))) {
      // Within a word a quote is a character as others are.
      quote = character;
    }
  }
  return line;
}

/** The items without those that name one of these jobs, with the comments above them; undefined when none is left. */
export function withoutJobs(items: string, gone: ReadonlySet<string>): string | undefined {
  const kept = itemsIn(items).filter((item) => !jobsIn(item).some(({ name }) => gone.has(name)));
  return kept.some((item) => /^-/m.test(item)) ? kept.join('\n').trimEnd() : undefined;
}

/** Items of a list at the margin, each with the comments right above it. */
function itemsIn(items: string): string[] {
  const found: string[][] = [];
  let above: string[] = [];
  for (const line of items.split('\n')) {
    if (line.startsWith('#')) {
      above.push(line);
    } else if (/^-(?:\s|$)/.test(line)) {
      found.push([...above, line]);
      above = [];
    } else {
      const last = found.at(-1) ?? found[found.push([]) - 1]!;
      last.push(...above, line);
      above = [];
    }
  }
  if (above.length > 0) found.push(above);
  return found.map((lines) => lines.join('\n'));
}
