// What looks like a secret in somebody's configuration. It errs on the side of calling too much one: what is not
// written can be filled in, what is written stands in git for ever.

const NAME =
  /pass(?:wor[dt]|phrase)?|secret|token|credential|api[-_]?key|access[-_]?key|private|auth|dsn|cookie|signing|salt/i;
/** scheme://user:password@ */
const URL_PASSWORD = /[a-z][a-z0-9+.-]*:\/\/[^/\s:@"']*:[^/\s@"']+@/i;
/** Known prefixes of tokens, and keys in PEM. */
const TOKEN =
  /\b(?:gh[pousr]_|glpat-|glsa_|glc_|xox[abps]-|sk-|AKIA|tskey-|eyJ[A-Za-z0-9_-]{10,}\.)|-----BEGIN [A-Z ]*PRIVATE KEY|AGE-SECRET-KEY-/;
/** Arguments of Alloy's, and the same of others, that take a secret and not the file that it is in. */
const ASSIGNMENT =
  /^\s*(?:export\s+)?["']?([A-Za-z0-9_.-]*)["']?\s*[:=]\s*(?!.*\b(?:sys\.env|env|secretFrom|nonsensitive)\b)["']?([^"'\s][^"']*)["']?\s*,?$/;

/** Whether an environment variable, or another named value, may be a secret. Empty ones are none. */
export function isSecretValue(name: string, value: string): boolean {
  if (value === '') return false;
  if (/_FILE$|_PATH$|_URL$/i.test(name) && !URL_PASSWORD.test(value) && !TOKEN.test(value)) return false;
  return NAME.test(name) || URL_PASSWORD.test(value) || TOKEN.test(value) || isRandom(value);
}

/** Long and without any words: a key in hexadecimal or base64. */
function isRandom(value: string): boolean {
  if (!/^[A-Za-z0-9+/_=-]{24,}$/.test(value)) return false;
  return (
    /^[0-9a-f]{32,}$/i.test(value) || (/[0-9]/.test(value) && /[a-z]/.test(value) && /[A-Z]/.test(value))
  );
}

/**
 * Numbers of the lines of a configuration that may hold a secret: an assignment to a name that says so, a URL with a
 * password, a token. Names that end in _file are where a secret is, and are fine.
 */
export function secretLines(text: string): number[] {
  return text.split('\n').flatMap((line, i) => {
    const code = line.replace(/^\s*(?:\/\/|#).*$/, '');
    const [, name = '', value = ''] = ASSIGNMENT.exec(code) ?? [];
    const assigned = /^(?:true|false|null|\d+|\[|\{)/.test(value)
      ? false
      : isNamedSecret(name) && value !== '';
    return assigned || URL_PASSWORD.test(code) || TOKEN.test(code) ? [i + 1] : [];
  });
}

function isNamedSecret(name: string): boolean {
  return NAME.test(name) && !/_?(?:file|path|url|type|header|endpoint)s?$/i.test(name);
}

/** Arguments of a command, with what may be a secret in them left out. */
export function withoutSecrets(args: readonly string[]): { args: string[]; hidden: boolean } {
  let hidden = false;
  const hide = (): string => {
    hidden = true;
    return 'FILL-IN';
  };
  const shown = args.map((arg, i) => {
    const before = args[i - 1] ?? '';
    if (
      /^--?[a-z]/i.test(before) &&
      !before.includes('=') &&
      isSecretValue(before, arg) &&
      !arg.startsWith('-')
    )
      return hide();
    const [, option, value] = /^([^=]+)=(.*)$/s.exec(arg) ?? [];
    if (option !== undefined && isSecretValue(option, value ?? '')) return `${option}=${hide()}`;
    return URL_PASSWORD.test(arg) || TOKEN.test(arg) ? hide() : arg;
  });
  return { args: shown, hidden };
}
