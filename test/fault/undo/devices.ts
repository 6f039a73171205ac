// Devices whose values outlive a process, and a gate that refuses one of them until its config is mended.
import fs from 'node:fs';
import type { Devices } from '../../support/device.ts';

export function keptIn(file: string): Map<string, string> {
  const kept = new KeptMap(file);
  if (!fs.existsSync(file)) return kept;
  const entries: [string, string][] = JSON.parse(fs.readFileSync(file, 'utf8'));
  for (const [key, value] of entries) kept.set(key, value);
  return kept;
}

class KeptMap extends Map<string, string> {
  readonly #file: string;

  constructor(file: string) {
    super();
    this.#file = file;
  }

  override set(key: string, value: string): this {
    super.set(key, value);
    this.#write();
    return this;
  }

  override delete(key: string): boolean {
    const was = super.delete(key);
    this.#write();
    return was;
  }

  #write(): void {
    fs.writeFileSync(this.#file, JSON.stringify([...this]));
  }
}

/** The value "bad" works only with a config that is "good". */
export function refusesBad(devices: Devices): void {
  devices.gate = (value) =>
    value === 'bad' && devices.values.get('Device/config') !== 'good'
      ? { verdict: 'No', reason: 'NoFlow', evidence: 'nothing arrives' }
      : { verdict: 'Yes' };
}
