// The controller as a process: everything made, started in order, and stopped without anything left behind. The
// only place that knows the clock, the environment and the listening socket.
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { inWords } from '../api/errors.ts';
import type { Clock } from '../kinds/ports.ts';
import { InlineCompiler } from './compiler/inline-compiler.ts';
import type { WorkerData } from './compiler/protocol.ts';
import { WorkerCompiler } from './compiler/worker-compiler.ts';
import { Fleet } from './fleet/fleet.ts';
import { KeptKey } from './fleet/kept-key.ts';
import { ownKeys } from './fleet/own-keys.ts';
import { Publisher } from './fleet/publisher.ts';
import type { Compiler } from './fleet/revision.ts';
import { buildApp } from './http/app.ts';
import { watchLoop } from './loop-delay.ts';
import { createMetrics } from './metrics.ts';
import type { Kinds } from './pipeline/document.ts';
import { DownloadStore } from './source/downloads.ts';
import type { Environment } from './source/git.ts';
import { GitSource } from './source/git-source.ts';
import { TailscaleWhois } from './source/whois.ts';
import { AuditTrail } from './store/audit-trail.ts';
import { CONTROLLER_BUSY_MS, Database } from './store/database.ts';
import { StateLock, StateLocked } from './store/lock.ts';
import { type AuditEntry, Store } from './store/store.ts';
import { Tokens } from './store/tokens.ts';

export interface ControllerOptions {
  readonly repo: string;
  readonly branch?: string;
  readonly subdir?: string;
  readonly stateDir: string;
  /** `address:port`; port 0 takes any that is free. */
  readonly listen: string;
  /** Whether 0.0.0.0 and :: are meant. */
  readonly listenEverywhere?: boolean;
  readonly tailscaleSocket?: string;
  readonly openReads?: boolean;
  readonly names?: readonly string[];
  readonly hookSecretFile?: string;
  readonly sdTokenFile?: string;
  readonly pollMs?: number;
  /** How long a host that left git is remembered; default for ever. */
  readonly forgetAfterMs?: number;
  /** Origins, and what is asked in their place for what manifests have downloaded. */
  readonly mirrors?: ReadonlyMap<string, string>;
}

export interface ControllerPorts {
  readonly clock: Clock;
  readonly environment: Environment;
  readonly log: Logger;
  /** Only without `compileThread`: to compile with in this thread. */
  readonly kinds?: Kinds;
  readonly version: string;
  /** The thread that compiles. */
  readonly compileThread?: (data: WorkerData) => Worker;
}

/** How often statuses are written, and a lost store is looked after. */
const SAVE_MS = 2_000;
/** Between two portions, so that requests are answered in between. */
const SAVE_MORE_MS = 50;

const HEALED = {
  recovered: 'the file of the store was removed: it was written again from the open one',
  replaced: 'another copy of the store is in its place: it was read',
};

const KEY_FILE = 'controller.key';
const STORE_FILE = 'controller.sqlite';
const DOWNLOADS = 'downloads';

export class Controller {
  readonly #options: ControllerOptions;
  readonly #ports: ControllerPorts;
  #database: Database | undefined;
  #fleet: Fleet | undefined;
  #publisher: Publisher | undefined;
  #compiler: Compiler | undefined;
  #app: FastifyInstance | undefined;
  #whois: TailscaleWhois | undefined;
  #saving: { cancel(): void } | undefined;
  #saved: Promise<void> | undefined;
  #unwatchLoop: (() => void) | undefined;
  #storeProblem: string | undefined;
  #lock: StateLock | undefined;
  #keptKey: KeptKey | undefined;
  #audits: AuditTrail | undefined;
  #isDisowned = false;
  readonly #failed = Promise.withResolvers<never>();
  #stopped = false;
  readonly #abort = new AbortController();

  constructor(options: ControllerOptions, ports: ControllerPorts) {
    this.#options = options;
    this.#ports = ports;
    // Whoever does not ask for it must not be ended by it.
    this.#failed.promise.catch(() => {});
  }

  /** Rejects when it must not go on, and has to be stopped. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /**
   * Serves what the store has at once, then follows git.
   * @returns the address it listens on, as a URL.
   * @throws Error in words when it can't be started as told.
   */
  async start(): Promise<string> {
    const { stateDir, hookSecretFile, sdTokenFile, tailscaleSocket } = this.#options;
    const { clock, log, version, environment } = this.#ports;
    const listen = parseListen(this.#options.listen, this.#options.listenEverywhere ?? false);
    const hookSecret = hookSecretFile === undefined ? undefined : readSecret(hookSecretFile);
    const sdToken = sdTokenFile === undefined ? undefined : readSecret(sdTokenFile);
    this.#lock = new StateLock(stateDir, this.#options.listen, clock.now);
    this.#lock.take();
    const database = new Database(join(stateDir, STORE_FILE), CONTROLLER_BUSY_MS);
    database.open({ create: true, check: true });
    this.#database = database;
    const store = new Store(database);
    const keys = ownKeys(join(stateDir, KEY_FILE), store);
    this.#keptKey = new KeptKey(join(stateDir, KEY_FILE));
    const metrics = createMetrics(version);
    const audits = new AuditTrail(store, metrics.audited);
    this.#audits = audits;
    const { forgetAfterMs } = this.#options;
    const fleet = new Fleet({
      store,
      signingKey: keys.privateKey,
      clock,
      ...(forgetAfterMs === undefined ? {} : { forgetAfterMs }),
    });
    fleet.load();
    this.#fleet = fleet;
    const source = new GitSource(this.#options, { clock, environment });
    this.#unwatchLoop = watchLoop(clock, metrics.loopDelayed);
    const compiler = this.#makeCompiler();
    this.#compiler = compiler;
    const publisher = new Publisher({
      source,
      fleet,
      compiler,
      clock,
      log,
      onResult: metrics.published,
    });
    this.#publisher = publisher;
    this.#whois = tailscaleSocket === undefined ? undefined : new TailscaleWhois(tailscaleSocket);
    const audit = (entry: Omit<AuditEntry, 'at'>): void => audits.record({ at: clock.now(), ...entry });
    this.#app = buildApp({
      fleet,
      store,
      tokens: new Tokens(database),
      keys,
      clock,
      log,
      metrics,
      whois: this.#whois,
      openReads: this.#options.openReads ?? false,
      names: this.#options.names ?? [],
      hookSecret,
      sdToken,
      refresh: () => void publisher.refresh(),
      audit,
      onKeyChange: (host, keyId) => {
        audit({ who: host, action: 'key-change', subject: host, detail: `key ${keyId}` });
        log.info({ host, keyId }, 'another key of the host took over');
      },
      onEnroll: metrics.enrolled,
    });
    const url = await this.#app.listen({ host: listen.host, port: listen.port });
    log.info(
      { url, keyId: keys.keyId, repo: this.#options.repo, hosts: fleet.assignments.size, version },
      'controller started',
    );
    // Stopped while it started: what comes next would outlive it.
    if (this.#stopped) return url;
    this.#saveAfter(SAVE_MS);
    await publisher.start();
    return url;
  }

  /** Waiting agents are sent away, running requests end, what is in memory only is written. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#abort.abort();
    await this.#publisher?.stop();
    await this.#app?.close();
    this.#saving?.cancel();
    await this.#saved;
    // What another controller holds is not ours to write.
    if (!this.#isDisowned) {
      await this.#saveAll();
      this.#audits?.flush();
    }
    await this.#compiler?.stop();
    this.#unwatchLoop?.();
    await this.#whois?.close();
    this.#database?.close();
    this.#lock?.release();
    this.#ports.log.info('controller stopped');
  }

  #makeCompiler(): Compiler {
    const { stateDir, mirrors } = this.#options;
    const { compileThread, kinds, clock } = this.#ports;
    const downloads = { directory: join(stateDir, DOWNLOADS), ...(mirrors === undefined ? {} : { mirrors }) };
    return compileThread === undefined
      ? new InlineCompiler(
          kinds ?? new Map(),
          new DownloadStore({ ...downloads, signal: this.#abort.signal }),
        )
      : new WorkerCompiler({ start: () => compileThread({ downloads }), clock });
  }

  #saveAfter(ms: number): void {
    if (this.#stopped) return;
    this.#saving = this.#ports.clock.setTimeout(() => {
      this.#saved = this.#save();
    }, ms);
  }

  async #saveAll(): Promise<void> {
    for (;;) {
      const more = (await this.#fleet?.prepareSave()) ?? false;
      const again = this.#fleet?.save() ?? false;
      if ((!more && !again) || this.#database?.problem !== undefined) return;
    }
  }

  async #save(): Promise<void> {
    const { log } = this.#ports;
    let more = false;
    try {
      this.#lock?.keep();
      if (this.#keptKey?.keep())
        log.warn('the file of the signing key was removed: it was written again, back it up');
      const healed = this.#database?.heal();
      if (healed === 'replaced') this.#fleet?.reload();
      await this.#fleet?.prepareSave();
      more = this.#fleet?.save() ?? false;
      if (healed !== undefined) {
        await this.#saveAll();
        log.warn(HEALED[healed]);
      }
      this.#audits?.flush();
      for (const host of this.#fleet?.lookAround() ?? []) log.info({ host }, 'host forgotten: it left git');
    } catch (error) {
      if (error instanceof StateLocked) {
        this.#isDisowned = true;
        return this.#failed.reject(error);
      }
      log.error({ error: inWords(error) }, 'the state could not be looked after');
    }
    const problem = this.#database?.problem;
    if (problem !== this.#storeProblem) {
      if (problem === undefined) log.info('the store can be written again');
      else log.error({ error: problem }, 'the store can not be used');
      this.#storeProblem = problem;
    }
    this.#saveAfter(more ? SAVE_MORE_MS : SAVE_MS);
  }
}

/** @throws Error when the text is no address and port, or an address that has to be meant in words. */
export function parseListen(text: string, everywhere: boolean): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? '';
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || port > 65535 || (isIP(host) === 0 && host !== 'localhost')) {
    throw new Error(`--listen ${text} is not address:port, as in 127.0.0.1:8420 or [::1]:8420`);
  }
  if ((host === '0.0.0.0' || host === '::') && !everywhere) {
    throw new Error(
      `--listen ${text} would answer on every network: say --listen-everywhere if that is meant, or the tailnet address alone`,
    );
  }
  return { host, port };
}

function readSecret(file: string): string {
  const secret = readFileSync(file, 'utf8').trim();
  if (secret.length < 16)
    throw new Error(`the secret in ${file} is shorter than 16 characters: make a longer one`);
  return secret;
}
