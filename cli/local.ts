// A host's manifest from a directory, run on this machine without a controller: what plan and once share.

import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import {
  AgentConfig,
  ALLOW_EVERYTHING,
  DEFAULT_AGE_IDENTITY,
  DEFAULT_CONFIG_FILE,
  readAgentConfig,
} from '../agent/config.ts';
import { createAgent, type OpenOptions } from '../agent/main.ts';
import { createLog } from '../agent/providers/log.ts';
import type { Assignment } from '../agent/reconcile/world.ts';
import { Payload } from '../api/bundle.ts';
import { didYouMean } from '../api/diagnostics.ts';
import { compileDirectory, DIRECTORY_OPTION, report } from './manifests.ts';
import { directory, file, hostNameHere, name } from './options.ts';
import { VERSION } from './version.ts';

export interface LocalOptions {
  readonly dir: string;
  readonly host?: string;
  readonly config: string;
  readonly root?: string;
  readonly state?: string;
}

export function localOptions(command: Command): Command {
  return command
    .addOption(DIRECTORY_OPTION)
    .option(
      '--host <name>',
      'which Host document this machine is; default: the one of its configuration, or its hostname',
      name,
    )
    .option('--config <file>', 'the agent’s configuration, for its allow-list', file, DEFAULT_CONFIG_FILE)
    .option('--root <dir>', 'a sandbox: all paths are below it, and everything is allowed there', directory)
    .option(
      '--state <dir>',
      'where to remember what was done; default: the configuration’s, or below the sandbox',
      directory,
    );
}

/**
 * The manifest of this host, and an agent that could carry it out.
 * @returns undefined when the manifests have errors; they have been printed.
 * @throws Error when there is no such host, or no configuration.
 */
export async function openLocal(options: LocalOptions, { readOnly = false }: OpenOptions = {}) {
  const config = localConfig(options);
  const assignment = await localAssignment(options.dir, config.host);
  if (assignment === undefined) return undefined;
  if (config.root !== undefined && !readOnly) fs.mkdirSync(config.root, { recursive: true });
  return {
    config,
    assignment,
    ...createAgent(config, VERSION, createLog('silent'), { readOnly, configFile: options.config }),
  };
}

/**
 * What a directory of manifests asks of a host.
 * @returns undefined when the manifests have errors; they have been printed. @throws Error when there is no such host
 */
export async function localAssignment(dir: string, host: string): Promise<Assignment | undefined> {
  const compilation = await compileDirectory(dir);
  if (compilation.diagnostics.length > 0) console.error(report(compilation));
  if (compilation.revision === undefined) return undefined;
  const found = compilation.revision.hosts.get(host);
  if (found === undefined) {
    const hosts = [...compilation.revision.hosts.keys()];
    const near = didYouMean(host, hosts);
    throw new Error(
      `there is no Host/${host} in ${dir}${near === undefined ? '' : `, did you mean ${near}?`}; --host names one of: ${hosts.join(', ') || 'none'}`,
    );
  }
  return {
    sequence: Date.now(),
    commit: compilation.revision.commit,
    payload: Payload.parse(JSON.parse(found.payloadText)),
  };
}

/** The configuration of this host's agent; that of one that grants nothing, where there is none yet. */
export function hostConfig(file: string, host: string | undefined): AgentConfig {
  if (!fs.existsSync(file)) return AgentConfig.parse({ host: host ?? hostNameHere() });
  return { ...readAgentConfig(file), ...(host === undefined ? {} : { host }) };
}

function localConfig({ config, host, root, state }: LocalOptions): AgentConfig {
  if (root === undefined) {
    const { controller: _, ...own } = readAgentConfig(config);
    return {
      ...own,
      ...(host === undefined ? {} : { host }),
      ...(state === undefined ? {} : { stateDir: path.resolve(state) }),
    };
  }
  const full = path.resolve(root);
  return AgentConfig.parse({
    host: host ?? hostNameHere(),
    root: full,
    stateDir: state === undefined ? path.join(full, '.homeostat') : path.resolve(state),
    allow: ALLOW_EVERYTHING,
    // Whose sandbox it is may read secrets in git, perhaps.
    ageIdentity: path.resolve(process.env['HOMEOSTAT_AGE_IDENTITY'] ?? DEFAULT_AGE_IDENTITY),
  });
}
