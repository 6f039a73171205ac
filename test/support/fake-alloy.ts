// An Alloy that is nothing but its API: what it has loaded, whether it is well, and how it answers. The stand-in
// in test/support/alloy is a program; this one can be told what to do.
import fs from 'node:fs';
import { sha256 } from '../../api/json.ts';
import type { Http, HttpResponse, Processes } from '../../kinds/ports.ts';

export class FakeAlloy {
  /** The file it runs; real path. */
  readonly file: string;
  running = true;
  ready = true;
  /** undefined before its first load. */
  loaded: string | undefined;
  unhealthy: { localID: string; message: string }[] = [];
  /** Of a text: why it can't be loaded. */
  refuses: (text: string) => string | undefined = (text) =>
    text.includes('refused') ? 'it is refused' : undefined;
  /** Of a text: what validate finds. */
  invalid: (text: string) => string | undefined = (text) =>
    text.includes('invalid') ? 'no such thing' : undefined;
  installed = true;
  /** Reloads, in order, by what they loaded. */
  readonly reloads: string[] = [];
  readonly asked: string[] = [];
  /** What ran while somebody asked whether it is well. */
  readonly gated = new Set<string | undefined>();

  constructor(file: string) {
    this.file = file;
  }

  start(): void {
    this.running = true;
    this.loaded = fs.existsSync(this.file) ? fs.readFileSync(this.file, 'utf8') : undefined;
  }

  readonly http: Http = {
    request: async (url, { method }) => {
      const { pathname } = new URL(url);
      this.asked.push(`${method ?? 'GET'} ${pathname}`);
      if (!this.running)
        throw Object.assign(new Error(`connect ECONNREFUSED ${url}`), { code: 'ECONNREFUSED' });
      return { headers: {}, ...this.#answer(pathname) };
    },
  };

  readonly processes: Processes = {
    run: async (command, args) => {
      if (!this.installed)
        throw Object.assign(new Error(`there is no program ${command}`), { code: 'ENOENT' });
      if (args[0] === '--version') return ok('alloy, version v1.18.0 (branch: HEAD)\n');
      const file = args.at(-1)!;
      const found = this.invalid(fs.readFileSync(file, 'utf8'));
      if (found === undefined) return ok('');
      const stderr = `Error: ${file}:1:1: ${found}\n\n1 | the text\n\nError: validation failed\n`;
      return { exitCode: 1, stdout: '\n', stderr };
    },
  };

  #answer(pathname: string): Pick<HttpResponse, 'status' | 'body'> {
    switch (pathname) {
      case '/-/ready':
        return this.ready ? { status: 200, body: 'Alloy is ready.\n' } : { status: 503, body: 'not ready' };
      case '/-/healthy':
        this.gated.add(this.loaded);
        return this.unhealthy.length === 0
          ? { status: 200, body: 'All Alloy components are healthy.\n' }
          : { status: 500, body: 'unhealthy components: …\n' };
      case '/api/v0/web/components':
        return { status: 200, body: JSON.stringify(this.#components()) };
      case '/metrics':
        return { status: 200, body: this.#metrics() };
      case '/-/reload':
        return this.#reload();
      default:
        return { status: 404, body: 'no such page' };
    }
  }

  #components() {
    return [
      { localID: 'prometheus.remote_write.central', health: { state: 'healthy', message: '' } },
      ...this.unhealthy.map(({ localID, message }) => ({ localID, health: { state: 'unhealthy', message } })),
    ];
  }

  #metrics(): string {
    const controller = 'alloy_component_controller_running_components{controller_id="",controller_path="/"';
    return [
      'alloy_build_info{branch="HEAD",version="v1.18.0"} 1',
      ...(this.loaded === undefined
        ? []
        : [`alloy_config_hash{cluster_name="",sha256="${sha256(this.loaded)}"} 1`]),
      `${controller},health_type="healthy"} 1`,
      ...(this.unhealthy.length === 0
        ? []
        : [`${controller},health_type="unhealthy"} ${this.unhealthy.length}`]),
    ].join('\n');
  }

  #reload(): Pick<HttpResponse, 'status' | 'body'> {
    const text = fs.readFileSync(this.file, 'utf8');
    this.reloads.push(text);
    this.loaded = text;
    const why = this.refuses(text);
    if (why === undefined) {
      this.unhealthy = [];
      return { status: 200, body: 'config reloaded\n' };
    }
    // A refusal tears the pipeline down all the same (data/alloy/bad-attr.json).
    this.unhealthy = [{ localID: 'prometheus.remote_write.central', message: why }];
    return { status: 400, body: `error during the initial load: ${why}\n` };
  }
}

function ok(stdout: string) {
  return { exitCode: 0, stdout, stderr: '' };
}
