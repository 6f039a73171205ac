// A systemd that runs nothing: units as files below a directory, loaded when they are first asked for and again
// at a daemon-reload, with links for enablement and masks. Real systemd is in test/integration.
import fs from 'node:fs';
import path from 'node:path';
import { Stalled } from '../../api/errors.ts';
import { sha256 } from '../../api/json.ts';
import { type Clock, JobFailed, type UnitJob, type UnitState, type Units } from '../../kinds/ports.ts';
import { alsoOf, installs } from '../../kinds/service/unit-files.ts';

const DIRECTORIES = ['etc/systemd/system', 'run/systemd/system', 'lib/systemd/system'];
const WANTS = 'etc/systemd/system/multi-user.target.wants';

interface Loaded {
  readonly masked: boolean;
  readonly fragment: string;
  readonly dropIns: readonly string[];
  readonly text: string;
}

interface Activity {
  activeState: UnitState['activeState'];
  subState: string;
  result: string;
  invocationID: string;
  startedAtMs: number;
  restarts: number;
  inactiveSinceMs: number;
  livedMs: number | undefined;
  endedItself: boolean;
  restartsAtMs: number;
  skippedAtMs: number;
  /** What the process was started with. */
  text: string;
}

export class FakeSystemd implements Units {
  readonly manager = 'systemd';
  /** What was asked for that changes something, in order. */
  readonly log: string[] = [];
  /** Of each invocation, how long after the end of the one before it began; milliseconds. */
  readonly pauses: number[] = [];
  /** How a start with this unit text ends; a number: by itself, after as many milliseconds. */
  outcome: (text: string) => 'stays' | 'fails' | number = () => 'stays';
  readonly #root: string;
  readonly #clock: Clock;
  readonly #loaded = new Map<string, Loaded>();
  readonly #active = new Map<string, Activity>();
  readonly #wakes = new Set<() => void>();
  readonly #frozen = new Set<string>();
  #invocations = 0;

  constructor(root: string, clock: Clock) {
    this.#root = root;
    this.#clock = clock;
    for (const directory of [...DIRECTORIES, WANTS])
      fs.mkdirSync(path.join(root, directory), { recursive: true });
  }

  async show(unit: string): Promise<UnitState> {
    const loaded = this.#load(unit);
    const { text: _, ...activity } = this.#activity(unit);
    const masked = this.#onDisk(unit).masked;
    return {
      ...activity,
      loadState: loadStateOf(loaded),
      loadError: loadStateOf(loaded) === 'bad-setting' ? 'Service has no ExecStart=. Refusing.' : '',
      unitFileState: masked ? 'masked' : loaded.fragment === '' ? '' : this.#enablement(unit, loaded),
      needDaemonReload: JSON.stringify(loaded) !== JSON.stringify(this.#onDisk(unit)),
      mainPID: 0,
      serviceType: /^Type=(.*)$/m.exec(loaded.text)?.[1] ?? 'simple',
      fragmentPath: loaded.fragment,
      dropInPaths: loaded.dropIns,
      freezer: this.#frozen.has(unit) ? 'frozen' : 'running',
    };
  }

  async run(job: UnitJob, unit: string, signal?: AbortSignal): Promise<void> {
    this.log.push(`${job} ${unit}`);
    const loaded = this.#load(unit);
    if (job === 'stop') return this.#become(unit, 'inactive', 'dead', 'success', false);
    if (loaded.masked) throw new Error(`${unit} is masked`);
    if (loaded.fragment === '') throw new Error(`${unit} not found`);
    if (loadStateOf(loaded) === 'bad-setting') throw new Error(`${unit} has a bad unit file setting`);
    const activity = this.#activity(unit);
    if (job === 'start' && activity.activeState === 'active') return;
    if (job === 'start' && activity.subState === 'auto-restart')
      return await this.#restarted(activity, signal);
    const condition = /^ConditionPathExists=(.*)$/m.exec(loaded.text)?.[1];
    if (condition !== undefined && !fs.existsSync(path.join(this.#root, condition))) {
      activity.skippedAtMs = this.#clock.now();
      return this.#wake();
    }
    activity.skippedAtMs = 0;
    if (activity.result === 'start-limit-hit')
      throw new JobFailed('failed', `start of ${unit}: start-limit-hit`);
    activity.invocationID = sha256(`${unit}${++this.#invocations}`).slice(0, 32);
    // systemd counts microseconds and the clock does not: what was written in this millisecond is not newer.
    activity.startedAtMs = this.#clock.now() + 0.999;
    activity.text = loaded.text;
    if (activity.inactiveSinceMs > 0) this.pauses.push(this.#clock.now() - activity.inactiveSinceMs);
    const outcome = this.outcome(loaded.text);
    if (outcome === 'fails') {
      this.#become(unit, 'failed', 'failed', 'exit-code', true);
      throw new JobFailed('failed', `start of ${unit} failed`);
    }
    activity.restarts = 0;
    this.#become(unit, 'active', 'running', 'success', false);
    if (outcome === 'stays') return;
    const { invocationID } = activity;
    this.#clock.setTimeout(() => {
      if (activity.invocationID !== invocationID || activity.activeState !== 'active') return;
      this.#become(unit, 'failed', 'failed', 'exit-code', true);
    }, outcome);
  }

  async daemonReload(): Promise<void> {
    this.log.push('daemon-reload');
    this.#loaded.clear();
    this.#wake();
  }

  async enable(unit: string): Promise<void> {
    this.log.push(`enable ${unit}`);
    const { text } = this.#onDisk(unit);
    for (const also of alsoOf(text)) await this.enable(also);
    if (!installs(text)) {
      if (alsoOf(text).length > 0) return;
      throw new Stalled('CannotBeEnabled', `${unit} has no [Install] section`);
    }
    fs.rmSync(this.#link(unit), { force: true });
    fs.symlinkSync(path.join('/', DIRECTORIES[0]!, unit), this.#link(unit));
  }

  async disable(unit: string): Promise<void> {
    this.log.push(`disable ${unit}`);
    fs.rmSync(this.#link(unit), { force: true });
  }

  async mask(unit: string): Promise<void> {
    this.log.push(`mask ${unit}`);
    fs.symlinkSync('/dev/null', path.join(this.#root, DIRECTORIES[0]!, unit));
  }

  async unmask(unit: string): Promise<void> {
    this.log.push(`unmask ${unit}`);
    for (const directory of DIRECTORIES.slice(0, 2)) {
      const file = path.join(this.#root, directory, unit);
      if (isMask(file)) fs.unlinkSync(file);
    }
  }

  async resetFailed(unit: string): Promise<void> {
    this.log.push(`reset-failed ${unit}`);
    const activity = this.#activity(unit);
    if (activity.activeState === 'failed')
      this.#become(unit, 'inactive', 'dead', 'success', activity.endedItself);
  }

  async watch(_unit: string, wake: () => void, signal: AbortSignal): Promise<void> {
    this.#wakes.add(wake);
    wake();
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.#wakes.delete(wake);
  }

  /**
   * Something happens to a unit by itself, or by somebody else. Unless it is said, one that is `inactive` was stopped
   * and one that is `failed` ended itself; a restart by systemd's own hand is for the caller to count.
   */
  happens(
    unit: string,
    state: Pick<UnitState, 'activeState' | 'subState' | 'result'> &
      Partial<
        Pick<
          UnitState,
          'restarts' | 'endedItself' | 'livedMs' | 'restartsAtMs' | 'inactiveSinceMs' | 'startedAtMs'
        >
      >,
  ): void {
    const { activeState, subState, result, ...facts } = state;
    const runs = activeState !== 'inactive' && activeState !== 'failed' && subState !== 'auto-restart';
    this.#become(unit, activeState, subState, result, !runs && activeState !== 'inactive', facts);
  }

  /** As `systemctl freeze`, which leaves the unit active. */
  freeze(unit: string, frozen = true): void {
    if (frozen) this.#frozen.add(unit);
    else this.#frozen.delete(unit);
    this.#wake();
  }

  /** The text that the running process was started with; '' when none runs. */
  runningText(unit: string): string {
    const { activeState, text } = this.#activity(unit);
    return activeState === 'active' ? text : '';
  }

  #become(
    unit: string,
    activeState: UnitState['activeState'],
    subState: string,
    result: string,
    endedItself: boolean,
    facts: Partial<Activity> = {},
  ): void {
    const activity = this.#activity(unit);
    const now = this.#clock.now();
    if (activeState !== 'active' && activity.activeState === 'active') {
      activity.livedMs = Math.max(0, now - activity.startedAtMs);
    }
    if (activeState === 'active') activity.livedMs = undefined;
    const isDead = (state: string): boolean => state === 'inactive' || state === 'failed';
    if ((isDead(activeState) && !isDead(activity.activeState)) || subState === 'auto-restart') {
      activity.inactiveSinceMs = now;
    }
    activity.restartsAtMs = 0;
    const startedAtMs = activeState === 'active' ? activity.startedAtMs : 0;
    Object.assign(activity, { activeState, subState, result, startedAtMs, endedItself, ...facts });
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes) wake();
  }

  #activity(unit: string): Activity {
    let activity = this.#active.get(unit);
    if (activity === undefined) {
      activity = {
        activeState: 'inactive',
        subState: 'dead',
        result: 'success',
        invocationID: '',
        startedAtMs: 0,
        restarts: 0,
        inactiveSinceMs: 0,
        livedMs: undefined,
        endedItself: false,
        restartsAtMs: 0,
        skippedAtMs: 0,
        text: '',
      };
      this.#active.set(unit, activity);
    }
    return activity;
  }

  #load(unit: string): Loaded {
    const loaded = this.#loaded.get(unit) ?? this.#onDisk(unit);
    this.#loaded.set(unit, loaded);
    return loaded;
  }

  #onDisk(unit: string): Loaded {
    const fragment = DIRECTORIES.map((d) => path.join(d, unit)).find((file) => {
      const stat = fs.lstatSync(path.join(this.#root, file), { throwIfNoEntry: false });
      return stat !== undefined;
    });
    const masked = fragment !== undefined && isMask(path.join(this.#root, fragment));
    const dropIns = DIRECTORIES.flatMap((d) => {
      const directory = path.join(this.#root, d, `${unit}.d`);
      return fs.existsSync(directory)
        ? fs.readdirSync(directory).map((name) => path.join(d, `${unit}.d`, name))
        : [];
    });
    const texts = [...(fragment === undefined || masked ? [] : [fragment]), ...dropIns];
    return {
      masked,
      fragment: fragment === undefined ? '' : `/${fragment}`,
      dropIns: dropIns.map((file) => `/${file}`),
      text: texts.map((file) => fs.readFileSync(path.join(this.#root, file), 'utf8')).join(''),
    };
  }

  #link(unit: string): string {
    return path.join(this.#root, WANTS, unit);
  }

  /** A start in this state waits for the manager's own restart. */
  async #restarted(activity: Activity, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = (): void => {
      if (activity.subState !== 'auto-restart') resolve();
    };
    this.#wakes.add(look);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    await promise.finally(() => this.#wakes.delete(look));
  }

  #enablement(unit: string, { text }: Loaded): string {
    if (fs.lstatSync(this.#link(unit), { throwIfNoEntry: false }) !== undefined) return 'enabled';
    if (installs(text)) return 'disabled';
    return alsoOf(text).length > 0 ? 'indirect' : 'static';
  }
}

/** An empty assignment forgets those before it. */
function loadStateOf({ masked, fragment, text }: Loaded): UnitState['loadState'] {
  if (masked) return 'masked';
  if (fragment === '') return 'not-found';
  const commands = [...text.matchAll(/^ExecStart=(.*)$/gm)].map(([, command]) => command);
  return commands.length > 0 && commands.at(-1) === '' ? 'bad-setting' : 'loaded';
}

function isMask(file: string): boolean {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  return stat?.isSymbolicLink() === true && fs.readlinkSync(file) === '/dev/null';
}
