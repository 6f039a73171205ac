// Where an escape is tried: a directory that its manifest may use, beside what it must never reach. An agent on the
// host's real ports, with the grants of a careful owner and whatever manifest a controller that was taken over would send:
// nothing here asks `kind.check`. What counts is what is true on the host afterwards.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import pino from 'pino';
import { AgentConfig, type AllowList } from '../../../agent/config.ts';
import type { Resource } from '../../../api/bundle.ts';
import { findCondition } from '../../../api/status.ts';
import { eventually } from '../../support/eventually.ts';
import { treeText } from '../../support/tree.ts';
import { Line, type Swap } from './line.ts';

const run = promisify(execFile);
const WITHIN_MS = 60_000;
/** Looks at a refused manifest: what is refused once must be so every time. */
const LOOKS = 3;
const LOOK_MS = 5_000;

export type Allow = Partial<AllowList>;

export interface Escape {
  /** What the owner granted for the honest version. */
  readonly allow: Allow;
  readonly honest: {
    readonly before?: () => unknown;
    readonly resources: readonly Resource[];
    /** @throws when it does not work, as the owner wanted it to */
    works(): unknown;
  };
  readonly evil: {
    readonly before?: () => unknown;
    readonly resources: readonly Resource[];
    /** After the resources were Ready, what they are replaced with. */
    readonly afterwards?: { readonly before?: () => unknown; readonly resources: readonly Resource[] };
    readonly swap?: Swap;
    /** What must be true besides what Stage.truth asks. */
    readonly safe?: (() => unknown) | undefined;
    /** Default NotAllowed; Unsupported where the schema refuses it. '' where it is allowed, and does no harm. */
    readonly refusal?: readonly string[];
  };
}

let stages = 0;

export class Stage {
  readonly id = `e${++stages}`;
  /** What the manifest may use, as the grants say. */
  readonly dir = `/srv/${this.id}`;
  /** Where honest programs and containers write what they see. */
  readonly proof = `/srv/proof-${this.id}`;
  /** What it must never reach. */
  readonly vault = `/etc/canary-${this.id}`;
  readonly state = `/var/lib/homeostat-${this.id}`;
  readonly key = path.join(this.state, 'agent.key');
  readonly socket = `/run/homeostat-${this.id}/agent.sock`;
  readonly canary = `canary-${randomBytes(12).toString('hex')}`;
  readonly keyText = `key-${randomBytes(12).toString('hex')}`;
  readonly evil = `/usr/local/lib/evil-${this.id}`;
  readonly honest = `/usr/local/lib/honest-${this.id}`;
  readonly marker = `/run/evil-${this.id}`;
  readonly unit = `${this.id}.service`;
  readonly #cleanups: (() => unknown)[] = [];
  #log = '';
  #line: Line | undefined;
  #vaultBefore = '';
  #said = '';

  constructor() {
    for (const directory of [this.dir, this.proof, path.dirname(this.socket)])
      fs.mkdirSync(directory, { recursive: true });
    for (const directory of [this.vault, this.state]) fs.mkdirSync(directory, { mode: 0o700 });
    fs.writeFileSync(path.join(this.vault, 'secret'), `${this.canary}\n`, { mode: 0o600 });
    fs.writeFileSync(path.join(this.vault, 'env'), `STOLEN=${this.canary}\n`, { mode: 0o600 });
    fs.writeFileSync(this.key, `${this.keyText}\n`, { mode: 0o600 });
    this.program(this.evil, `touch ${this.marker}`);
    this.program(
      this.honest,
      `{ env; cat; for c in "$CREDENTIALS_DIRECTORY"/*; do cat "$c"; done; cat ${this.dir}/window/*; } >${this.proof}/seen 2>/dev/null
[ "$1" = once ] || exec sleep 100000`,
    );
    process.env[`HOMEOSTAT_ENV_${this.id}`] = this.canary;
    this.after(() => delete process.env[`HOMEOSTAT_ENV_${this.id}`]);
  }

  at(...names: string[]): string {
    return path.join(this.dir, ...names);
  }

  program(file: string, script: string): void {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  }

  write(file: string, content: string): void {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  }

  link(target: string, ...names: string[]): void {
    const place = this.at(...names);
    fs.rmSync(place, { recursive: true, force: true });
    fs.mkdirSync(path.dirname(place), { recursive: true });
    fs.symlinkSync(target, place);
  }

  after(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async sh(script: string): Promise<string> {
    return (await run('bash', ['-c', script], { timeout: 60_000 })).stdout;
  }

  seen(name = 'seen'): string {
    return fs.readFileSync(path.join(this.proof, name), 'utf8');
  }

  async playHonest({ allow, honest }: Escape): Promise<void> {
    await honest.before?.();
    const line = this.#open(allow);
    line.assign(honest.resources);
    await eventually(() => {
      for (const { key, conditions } of line.settled()) {
        const [ready, applied] = [findCondition(conditions, 'Ready'), findCondition(conditions, 'Applied')];
        const isFine = ready?.status === 'True' || applied?.status === 'True';
        assert.ok(isFine, `the honest ${key} is ${ready?.reason}: ${ready?.message}`);
      }
    }, WITHIN_MS);
    await eventually(() => honest.works(), WITHIN_MS);
    await line.stop();
  }

  async playEvil({ allow, evil }: Escape): Promise<void> {
    await evil.before?.();
    this.#vaultBefore = treeText(this.vault);
    const line = this.#open(allow, evil.swap);
    line.assign(evil.resources);
    if (evil.afterwards !== undefined) {
      await eventually(() => this.#verdicts(line, ['']), WITHIN_MS);
      await evil.afterwards.before?.();
      this.#vaultBefore = treeText(this.vault);
      line.assign(evil.afterwards.resources);
    }
    const faults: unknown[] = [];
    const note = async (check: () => unknown): Promise<void> => {
      try {
        await check();
      } catch (error) {
        faults.push(error);
      }
    };
    await note(() => eventually(() => line.settled(), WITHIN_MS));
    for (let look = 1; look < LOOKS; look++) {
      line.agent.reconcile();
      // One that is made and refused again and again is never idle, and is judged all the same.
      await Promise.race([line.agent.idle(), delay(LOOK_MS)]);
    }
    await note(() => this.#verdicts(line, evil.refusal ?? ['NotAllowed']));
    this.#said = JSON.stringify(line.agent.status());
    await line.stop();
    await note(() => evil.safe?.());
    await note(() => this.truth());
    if (faults.length > 0)
      throw new Error(
        faults.map((fault) => (fault instanceof Error ? fault.message : String(fault))).join('; '),
      );
  }

  /** One of the resources at least was refused, and for the reason that is meant. */
  #verdicts(line: Line, wanted: readonly string[]): void {
    const reasons = line.settled().map(({ key, conditions }) => {
      const ready = findCondition(conditions, 'Ready');
      return { key, reason: ready?.status === 'True' ? '' : (ready?.reason ?? '?'), message: ready?.message };
    });
    if (reasons.some(({ reason }) => wanted.includes(reason))) return;
    const are = reasons.map(({ key, reason, message }) => `${key} is ${reason || 'Ready'} (${message})`);
    throw new Error(`the status says not ${wanted.join(' or ')}: ${are.join('; ')}`);
  }

  /** What is in the vault is as it was, nothing of it or of the agent's key was shown, and the evil program did not run. */
  truth(): void {
    assert.ok(!fs.existsSync(this.marker), 'the evil program ran');
    assert.equal(treeText(this.vault), this.#vaultBefore, 'what must not be touched was changed');
    assert.equal(fs.readFileSync(this.key, 'utf8'), `${this.keyText}\n`, 'the agent’s key was changed');
    // Another name of a file that is to be kept shows nothing that was not there.
    const kept = new Set([this.key, ...regularFiles(this.vault)].map(identity));
    const files = [this.proof, this.dir, this.state]
      .flatMap(regularFiles)
      .filter((file) => !kept.has(identity(file)))
      .map((file) => [file, fs.readFileSync(file, 'utf8')] as const);
    const places = [['the status', this.#said], ['the log', this.#log], ...files] as const;
    for (const [place, text] of places) {
      assert.ok(!text.includes(this.canary), `the canary can be read in ${place}`);
      assert.ok(!text.includes(this.keyText), `the agent’s key can be read in ${place}`);
    }
  }

  #open(allow: Allow, swap?: Swap): Line {
    const config = AgentConfig.parse({
      host: 'victim',
      stateDir: this.state,
      keyFile: this.key,
      socket: this.socket,
      allow,
    });
    const sink = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.#log += chunk.toString();
        done();
      },
    });
    this.#line = new Line(config, pino(sink), swap);
    return this.#line;
  }

  /** Leaves nothing of it, whatever it came to. */
  async end(): Promise<void> {
    await this.#line?.stop();
    const { id } = this;
    await this.sh(
      `ids=$(docker ps -aq --filter 'name=^/?${id}([.-]|$)'); [ -z "$ids" ] || docker rm -f -v $ids`,
    );
    const units = `/etc/systemd/system/${id}[.-]*`;
    await this.sh(
      `ls -d ${units} >/dev/null 2>&1 || exit 0; systemctl stop '${id}.*' '${id}-*'; rm -rf ${units}`,
    );
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    const directories = [this.dir, this.proof, this.vault, this.state, path.dirname(this.socket)];
    await this.sh(
      `for d in ${directories.join(' ')}; do while umount -l $d 2>/dev/null; do :; done; rm -rf --one-file-system $d; done`,
    );
    for (const file of [this.evil, this.honest, this.marker]) fs.rmSync(file, { force: true });
  }
}

/** Each file below a directory, what links lead to left out. */
function regularFiles(directory: string): string[] {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(directory, entry.name);
    if (entry.isDirectory()) return regularFiles(full);
    return entry.isFile() ? [full] : [];
  });
}

function identity(file: string): string {
  const { dev, ino } = fs.lstatSync(file);
  return `${dev} ${ino}`;
}
