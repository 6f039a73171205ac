// An Alloy that is nothing but its API: what it has loaded, whether it is well, and how it answers. The stand-in
// in test/support/alloy is a program; this one can be told what to do.
import fs from 'node:fs';
import { sha256 } from '../../api/json.ts';
import { componentsIn } from '../../kinds/alloy-config/components.ts';
import type { Http, HttpResponse, Processes, UnitJob, UnitState, Units } from '../../kinds/ports.ts';
import { FakeSystemd } from './fake-systemd.ts';

const PID = 4711;

/** A file, or what a directory has that is loaded, in its order. */
function filesAt(target: string): string[] {
  if (!fs.statSync(target).isDirectory()) return [target];
  const names = fs.readdirSync(target).filter((name) => name.endsWith('.alloy'));
  return names.sort().map((name) => `${target}/${name}`);
}

function textAt(target: string): string {
  return filesAt(target)
    .map((file) => fs.readFileSync(file, 'utf8'))
    .join('');
}

type Answer = Pick<HttpResponse, 'status' | 'body'>;

export class FakeAlloy {
  /** The file it runs; real path. */
  readonly file: string;
  running = true;
  ready = true;
  /** It listens, and its answers do not come. */
  hangs = false;
  /** Another program answers in its place. */
  impostor = false;
  startedAtMs = 0;
  /** undefined before its first load. */
  loaded: string | undefined;
  unhealthy: { localID: string; message: string }[] = [];
  /** Of a text: why it can't be loaded. */
  refuses: (text: string) => string | undefined = (text) =>
    text.includes('refused') ? 'it is refused' : undefined;
  /** Of a text: what validate finds. */
  invalid: (text: string) => string | undefined = (text) =>
    text.includes('invalid') ? 'no such thing' : undefined;
  /** Of a text: whether its process ends with it. */
  ends: (text: string) => boolean = () => false;
  installed = true;
  /** Flags that it was started with. */
  flags: string[] = [];
  /** Command lines of its validations, without the program. */
  readonly validations: string[][] = [];
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
    this.unhealthy = [];
    this.#failed = false;
    this.#torn = undefined;
    this.loaded = fs.existsSync(this.file) ? textAt(this.file) : undefined;
  }

  readonly http: Http = {
    request: async (url, { method }) => {
      const { pathname } = new URL(url);
      this.asked.push(`${method ?? 'GET'} ${pathname}`);
      if (!this.running)
        throw Object.assign(new Error(`connect ECONNREFUSED ${url}`), { code: 'ECONNREFUSED' });
      if (this.hangs) throw Object.assign(new Error(`${url} did not answer`), { code: 'ETIMEDOUT' });
      if (this.impostor) return { headers: {}, status: 404, body: 'no such page' };
      return { headers: {}, ...(this.#closed() ?? this.#answer(pathname)) };
    },
  };

  /** As data/alloy/behaviour.md has it: with http { auth } every path wants the password, with http { tls } TLS. */
  #closed(): Answer | undefined {
    if (this.loaded?.includes('tls {')) {
      return { status: 400, body: 'Client sent an HTTP request to an HTTPS server.\n' };
    }
    return this.loaded?.includes('auth {') ? { status: 401, body: '' } : undefined;
  }

  readonly processes: Processes = {
    run: async (command, args) => {
      if (!this.installed)
        throw Object.assign(new Error(`there is no program ${command}`), { code: 'ENOENT' });
      if (args[0] === '--version') return ok('alloy, version v1.18.0 (branch: HEAD)\n');
      this.validations.push([...args]);
      const target = args.at(-1)!;
      const found = filesAt(target).flatMap((file) => {
        const why = this.invalid(fs.readFileSync(file, 'utf8'));
        return why === undefined ? [] : [`Error: ${file}:1:1: ${why}\n\n1 | the text\n`];
      });
      if (found.length === 0) return ok('');
      return { exitCode: 1, stdout: '\n', stderr: `${found.join('\n')}\nError: validation failed\n` };
    },
    commandLine: (pid) =>
      pid === PID && this.running ? ['/usr/bin/alloy', 'run', ...this.flags, this.file] : undefined,
  };

  #answer(pathname: string): Answer {
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
        return this.reload();
      default:
        return { status: 404, body: 'no such page' };
    }
  }

  #components() {
    const healthy = componentsIn(this.#torn ?? this.loaded ?? '').map((localID) => ({
      localID,
      health: { state: 'healthy', message: 'component evaluated' },
    }));
    return [
      ...healthy.filter(({ localID }) => !this.unhealthy.some((one) => one.localID === localID)),
      ...this.unhealthy.map(({ localID, message }) => ({ localID, health: { state: 'unhealthy', message } })),
    ];
  }

  #metrics(): string {
    const controller = 'alloy_component_controller_running_components{controller_id="",controller_path="/"';
    return [
      'alloy_build_info{branch="HEAD",version="v1.18.0"} 1',
      `process_start_time_seconds ${this.startedAtMs / 1000}`,
      ...(this.loaded === undefined
        ? []
        : [`alloy_config_hash{cluster_name="",sha256="${sha256(this.loaded)}"} 1`]),
      `alloy_config_last_load_successful ${this.#failed ? 0 : 1}`,
      `${controller},health_type="healthy"} 1`,
      ...(this.unhealthy.length === 0
        ? []
        : [`${controller},health_type="unhealthy"} ${this.unhealthy.length}`]),
    ].join('\n');
  }

  /** Loads the file that is there, and refuses it: for its `syntax…`, a `reference…`, or when it is evaluated. */
  refuse(why: string): void {
    const { refuses } = this;
    this.loaded = '// what ran before\n';
    this.refuses = () => why;
    this.reload();
    this.refuses = refuses;
  }

  /** The file could not be parsed. */
  #failed = false;
  /** What runs after a load that was refused for a reference: the config before it. */
  #torn: string | undefined;

  /** By its API, or by SIGHUP. */
  reload(): Answer {
    const text = textAt(this.file);
    this.reloads.push(text);
    const before = this.#torn ?? this.loaded;
    this.loaded = text;
    const why = this.refuses(text);
    this.#failed = why?.startsWith('syntax') === true;
    const keepsOld = this.#failed || why?.startsWith('reference') === true;
    this.#torn = keepsOld ? before : undefined;
    if (this.ends(text)) this.running = false;
    if (why === undefined || keepsOld) this.unhealthy = [];
    if (why === undefined) return { status: 200, body: 'config reloaded\n' };
    // A refusal of what could be parsed tears the pipeline down all the same (data/alloy/bad-attr.json).
    if (!keepsOld) this.unhealthy = [{ localID: 'prometheus.remote_write.central', message: why }];
    return { status: 400, body: `error during the initial load: ${why}\n` };
  }
}

/** A systemd whose alloy.service is this Alloy. */
export class AlloyUnit extends FakeSystemd {
  /** Whether the unit has ExecReload=. */
  reloads = true;
  /** What it wrote. */
  output: NonNullable<Units['output']> = async () => '';
  /** The unit's state while Alloy does not run. */
  ended: Pick<UnitState, 'activeState' | 'subState' | 'result'> = {
    activeState: 'inactive',
    subState: 'dead',
    result: 'success',
  };
  readonly #alloy: FakeAlloy;

  constructor(alloy: FakeAlloy, ...rest: ConstructorParameters<typeof FakeSystemd>) {
    super(...rest);
    this.#alloy = alloy;
  }

  override async show(unit: string): Promise<UnitState> {
    const running = { activeState: 'active', subState: 'running', result: 'success', mainPID: PID } as const;
    return { ...(await super.show(unit)), ...(this.#alloy.running ? running : this.ended) };
  }

  override async run(job: UnitJob, unit: string): Promise<void> {
    this.log.push(`${job} ${unit}`);
    if (job === 'reload' && !this.reloads)
      throw new Error(`job type reload is not applicable for unit ${unit}`);
    if (job === 'stop') this.#alloy.running = false;
    else if (job === 'reload') this.#alloy.reload();
    else this.#alloy.start();
  }
}

function ok(stdout: string) {
  return { exitCode: 0, stdout, stderr: '' };
}
