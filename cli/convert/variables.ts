// Promtail expands `${NAME}` and `${NAME:-default}` in its config when it runs with -config.expand-env=true; Alloy's
// converter takes them as text. They are replaced by marks that are valid where they stand, and in Alloy's config by
// what reads the environment there. https://grafana.com/docs/loki/latest/send-data/promtail/configuration/

export interface Variable {
  readonly name: string;
  readonly fallback: string | undefined;
  /** 1-based. */
  readonly line: number;
  /** As it is written. */
  readonly raw: string;
  /** What stands for it while Alloy converts. */
  readonly mark: string;
}

const VARIABLE = /(?<!\$)\$\{([A-Za-z_]\w*)(?::?-([^}]*))?\}/g;
/** Above the ports that Linux gives out by itself. */
const FIRST_PORT = 64_100;

/** @param taken names of variables that are replaced by their defaults, since their place takes no text. */
export function markVariables(
  yaml: string,
  taken: ReadonlySet<string> = new Set(),
): { text: string; variables: Variable[] } {
  const variables: Variable[] = [];
  const lines = yaml.split('\n').map((text, i) => {
    if (/^\s*#/.test(text)) return text;
    return text.replace(VARIABLE, (raw: string, name: string, fallback: string | undefined, at: number) => {
      if (taken.has(raw) && fallback !== undefined) return fallback;
      const mark = markFor(variables.length, text.slice(0, at));
      variables.push({ name, fallback, line: i + 1, raw, mark });
      return mark;
    });
  });
  const text = lines.join('\n');
  // With the expansion on, `$$` is one `$`; without a variable nobody knows, and nothing is changed.
  return { text: variables.length + taken.size === 0 ? yaml : text.replaceAll('$$', '$'), variables };
}

function markFor(n: number, before: string): string {
  if (/\burl\s*:\s*["']?$/.test(before)) return `http://homeostat-env-${n}.invalid`;
  if (/[^\s:]:$/.test(before)) return String(FIRST_PORT + n);
  return `homeostat-env-${n}.invalid`;
}

/** @returns the config that reads the variables, and those that stand nowhere in it. */
export function readVariables(
  config: string,
  variables: readonly Variable[],
): { text: string; lost: Variable[] } {
  const seen = new Set<Variable>();
  const literals = /"((?:[^"\\\n]|\\.)*)"([ \t]*[={])?/g;
  const text = config.replaceAll(literals, (literal: string, inner: string, key: string | undefined) => {
    const parts = key === undefined ? split(inner, variables) : [inner];
    if (parts.length === 1 && typeof parts[0] === 'string') return literal;
    return parts
      .map((part) => {
        if (typeof part === 'string') return `"${part}"`;
        seen.add(part);
        const read = `sys.env("${part.name}")`;
        return part.fallback === undefined ? read : `coalesce(${read}, ${JSON.stringify(part.fallback)})`;
      })
      .join(' + ');
  });
  return { text, lost: variables.filter((variable) => !seen.has(variable)) };
}

/** The marks are valid text of their places, so Alloy's messages quote them. */
export function unmarked(text: string, variables: readonly Variable[]): string {
  return [...variables].reverse().reduce((left, { mark, raw }) => left.replaceAll(mark, raw), text);
}

function split(text: string, variables: readonly Variable[]): (string | Variable)[] {
  let parts: (string | Variable)[] = [text];
  // The longer number first: 1 is the beginning of 12.
  for (const variable of [...variables].reverse()) {
    parts = parts.flatMap((part) => {
      if (typeof part !== 'string') return [part];
      return part.split(variable.mark).flatMap((piece, i) => (i === 0 ? [piece] : [variable, piece]));
    });
  }
  const left = parts.filter((part) => part !== '');
  return left.length === 0 ? [''] : left;
}
