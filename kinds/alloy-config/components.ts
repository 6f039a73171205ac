// Which components a config has, and which of them Alloy runs. Pure.
import type { Component } from './alloy-api.ts';

/** Comments, raw strings, block headers with a label, strings, braces; the rest of the language is skipped. */
const TOKEN =
  /\/\/.*|\/\*[\s\S]*?\*\/|`[^`]*`|([A-Za-z_][\w.]*)[ \t]+"([^"\\\n]+)"[ \t]*\{|"(?:\\.|[^"\\\n])*"|[{}]/g;

/**
 * The components at the top level of a config, by the names that Alloy's API gives them: prometheus.scrape.host. Not
 * those that the config itself or an imported module defines: how they are listed is not ours to know.
 */
export function componentsIn(text: string): string[] {
  const found: { name: string; label: string }[] = [];
  let depth = 0;
  for (const [token, name, label] of text.matchAll(TOKEN)) {
    if (name !== undefined && depth === 0) found.push({ name, label: label! });
    if (token.endsWith('{') && (name !== undefined || token === '{')) depth += 1;
    else if (token === '}') depth -= 1;
  }
  const modules = found.filter(({ name }) => name.startsWith('import.')).map(({ label }) => label);
  return found
    .filter(({ name }) => name.includes('.') && !name.startsWith('import.'))
    .filter(({ name }) => !modules.some((module) => name.startsWith(`${module}.`)))
    .map(({ name, label }) => `${name}.${label}`);
}

/** Those of the config that Alloy does not run: it has refused the config, whatever its hash says. */
export function missingComponents(text: string, running: readonly Component[]): string[] {
  const ids = new Set(running.map(({ localID }) => localID));
  return componentsIn(text).filter((id) => !ids.has(id));
}
