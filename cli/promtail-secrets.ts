// Secrets that stand in a config of Alloy's, replaced by the file that Alloy is to read them from: each of these
// arguments has a twin that ends in _file. https://grafana.com/docs/alloy/latest/reference/components/loki/loki.write/

export interface Moved {
  /** As in "password of loki.write default". */
  readonly what: string;
  /** On the host. */
  readonly file: string;
}

const SECRET = /^(\s*)(password|bearer_token|credentials|client_secret)(\s*)= "(?:[^"\\]|\\.)+"$/;
const WITH_PASSWORD = /^(\s*url\s*= ")([a-z]+:\/\/)([^/@"]+)@([^"]*")$/;

/** @param config as `alloy fmt` prints it: one argument a line. */
export function bareSecrets(config: string): { text: string; moved: Moved[] } {
  const moved: Moved[] = [];
  let block = 'config';
  const lines = config.split('\n').map((line) => {
    block = /^(\S+(?: "[^"]+")?) \{/.exec(line)?.[1]?.replaceAll('"', '') ?? block;
    const secret = SECRET.exec(line);
    if (secret !== null) {
      const [, indent, name] = secret;
      const file = `/etc/alloy/secrets/${block.replaceAll(/[^A-Za-z0-9]+/g, '-')}-${name!.replaceAll('_', '-')}`;
      moved.push({ what: `${name} of ${block}`, file });
      return `${indent}${name}_file = "${file}"`;
    }
    const url = WITH_PASSWORD.exec(line);
    if (url === null) return line;
    moved.push({
      what: `user and password in the url of ${block} (write a basic_auth block)`,
      file: 'password_file',
    });
    return `${url[1]}${url[2]}${url[4]}`;
  });
  return { text: lines.join('\n'), moved };
}
