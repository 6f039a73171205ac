// Secrets that stand in a promtail config, and in what Alloy's converter makes of it: they go to no file and no
// terminal. Alloy then reads each from a file on the host: by the argument's twin that ends in _file where every block
// of that name has one, otherwise through local.file.
// https://grafana.com/docs/alloy/latest/reference/components/local/local.file/
import { loadAll } from 'js-yaml';

export interface Moved {
  /** As in "password of loki.write default". */
  readonly what: string;
  /** On the host. */
  readonly file: string;
}

const SECRET_NAME = /pass(?:word|phrase|wd)|secret|token|api_?key|credentials?$|key_pem|private_key/i;
const SECRET_HEADER = /auth|token|key|secret|cookie|pass/i;
const ELSEWHERE = /_file$|_url$|_path$|^token_url$/i;
/** Blocks of whose secrets each has a twin. */
const WITH_TWINS = /^(?:basic_auth|authorization|oauth2)$/;
const ARGUMENT = /^(\s*)("?)([\w.-]+)\2(\s*)= "((?:[^"\\]|\\.)+)"(,?)$/;
const URL_WITH_PASSWORD = /\b([a-z][a-z0-9+.-]*:\/\/)([^/@\s"]+)@/;

/** A secret of the promtail config, with the 1-based line where it stands; 0 where that is not known. */
export interface Found {
  readonly value: string;
  readonly name: string;
  readonly line: number;
}

/** @param yaml that js-yaml reads; what it can't read, Alloy refuses. */
export function secretsOf(yaml: string): Found[] {
  const found: Found[] = [];
  const lines = yaml.split('\n');
  const note = (name: string, value: string): void => {
    found.push({ value, name, line: lines.findIndex((line) => line.includes(value)) + 1 });
  };
  const walk = (value: unknown, name: string, parent: string): void => {
    if (typeof value === 'string') {
      const userinfo = URL_WITH_PASSWORD.exec(value)?.[2]?.split(':')[1];
      if (userinfo !== undefined) note(name, decoded(userinfo));
      if (value !== '' && isSecret(name, parent)) note(name, value);
    } else if (typeof value === 'object' && value !== null) {
      const inner = Array.isArray(value) ? value.map((one) => [name, one]) : Object.entries(value);
      for (const [key, one] of inner as [string, unknown][])
        walk(one, key, Array.isArray(value) ? parent : name);
    }
  };
  try {
    for (const document of loadAll(yaml)) walk(document, '', '');
  } catch {
    return []; // no YAML: Alloy says where
  }
  return found;
}

function isSecret(name: string, parent: string): boolean {
  if (parent === 'headers' || parent === 'http_headers') return SECRET_HEADER.test(name);
  return SECRET_NAME.test(name) && !ELSEWHERE.test(name);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** @param config as `alloy fmt` prints it: one argument a line. */
export function bareSecrets(config: string): { text: string; moved: Moved[] } {
  const moved: Moved[] = [];
  const readers: string[] = [];
  const opened: string[] = [];
  let component = 'config';
  const lines = config.split('\n').map((line) => {
    const opens = /^\s*"?([\w.-]+)"?(?: "([^"]+)")?(?:\s*= )?\s*[[{(]+$/.exec(line);
    if (opens !== null) {
      if (opened.length === 0) component = opens[2] === undefined ? opens[1]! : `${opens[1]} ${opens[2]}`;
      opened.push(opens[1]!);
      return line;
    }
    if (/^\s*[\]})]/.test(line)) opened.pop();
    const argument = ARGUMENT.exec(line);
    if (argument === null) return line;
    const [, indent, quote, name, space, value, comma] = argument;
    const block = opened.at(-1) ?? '';
    if (isSecret(name!, block)) {
      const id = `${component}_${name}`.replaceAll(/[^A-Za-z0-9]+/g, '_').replace(/_$/, '');
      const nth = moved.filter(({ what }) => what === `${name} of ${component}`).length;
      const unique = nth === 0 ? id : `${id}_${nth + 1}`;
      const file = `/etc/alloy/secrets/${unique.replaceAll('_', '-')}`;
      moved.push({ what: `${name} of ${component}`, file });
      if (WITH_TWINS.test(block)) return `${indent}${name}_file = "${file}"`;
      readers.push(`local.file "${unique}" {\n\tfilename  = "${file}"\n\tis_secret = true\n}\n`);
      const content = `local.file.${unique}.content`;
      // The headers of an endpoint are plain strings, which a secret does not become by itself.
      const given =
        SECRET_NAME.test(name!) && block !== 'headers' ? content : `convert.nonsensitive(${content})`;
      return `${indent}${quote}${name}${quote}${space}= ${given}${comma}`;
    }
    if (!URL_WITH_PASSWORD.test(value!)) return line;
    moved.push({
      what: `user and password in the ${name} of ${component} (write a basic_auth block)`,
      file: 'password_file',
    });
    return line.replace(URL_WITH_PASSWORD, '$1');
  });
  return { text: [...readers, lines.join('\n')].join('\n'), moved };
}

/** @throws Error that names the line of a secret which would be written, or printed. */
export function requireBare(text: string, secrets: readonly Found[], file: string): void {
  const left = secrets.find(({ value }) => value.length > 3 && text.includes(value));
  if (left === undefined) return;
  throw new Error(
    `${file}:${left.line}: the secret ${left.name} would stand in config.alloy, which goes to git; nothing was written: take it out of the promtail config, and give it to Alloy through local.file`,
  );
}

/** For messages that quote a config. */
export function withoutSecrets(text: string, secrets: readonly Found[]): string {
  return secrets.reduce((left, { value }) => left.replaceAll(value, '[secret]'), text);
}
