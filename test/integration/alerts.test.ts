// The alert rules: valid, tested for firing and for not firing, each with a page that tells what to do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { HOST_STATES } from '../../api/health.ts';
import { PROMTOOL, require } from '../support/capabilities.ts';

const root = path.dirname(path.dirname(import.meta.dirname));
const directory = path.join(root, 'deploy', 'prometheus');

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { alert: string; expr: string; annotations: Record<string, string> }[];
  }[];
}
const read = <T>(file: string) => load(fs.readFileSync(path.join(directory, file), 'utf8')) as T;
const alerts = read<Rules>('homeostat.rules.yml').groups.flatMap((g) => g.rules);

test('promtool accepts the rules, and each fires and does not fire as its tests say', (t) => {
  if (!require(t, PROMTOOL)) return;
  for (const [command, file] of [
    ['check', 'homeostat.rules.yml'],
    ['test', 'homeostat.test.yml'],
  ] as const) {
    execFileSync('promtool', [command, 'rules', file], { cwd: directory, stdio: 'pipe', timeout: 60_000 });
  }
});

test('every alert is tested for firing and for not firing', () => {
  interface Tests {
    readonly tests: readonly {
      alert_rule_test: readonly { alertname: string; exp_alerts: readonly object[] }[];
    }[];
  }
  const cases = read<Tests>('homeostat.test.yml').tests.flatMap((t) => t.alert_rule_test);
  for (const { alert } of alerts) {
    const mine = cases.filter((c) => c.alertname === alert);
    assert.ok(
      mine.some((c) => c.exp_alerts.length > 0),
      `${alert}: no test that it fires`,
    );
    if (alert === 'HomeostatDeadMansSwitch') continue; // it always fires: that is its use
    assert.ok(
      mine.some((c) => c.exp_alerts.length === 0),
      `${alert}: no test that it does not fire`,
    );
  }
});

test('alerts ask for states that a host can be in', () => {
  const known = new Set<string>(HOST_STATES);
  for (const { alert, expr } of alerts) {
    for (const [, states = ''] of expr.matchAll(/host_condition\{condition=~?"([^"]*)"/g)) {
      assert.deepEqual(
        states.split('|').filter((state) => !known.has(state)),
        [],
        alert,
      );
    }
  }
});

test('every alert leads to a page that is there, and every page to an alert', () => {
  const pages = new Set<string>();
  for (const { alert, annotations } of alerts) {
    const page = annotations['runbook'] ?? '';
    assert.ok(fs.existsSync(path.join(root, page)), `${alert}: ${page} is not there`);
    assert.match(fs.readFileSync(path.join(root, page), 'utf8'), new RegExp(`^# .*\\b${alert}\\b`, 'm'));
    pages.add(path.basename(page));
  }
  assert.deepEqual(fs.readdirSync(path.join(root, 'docs', 'runbooks')).sort(), [...pages].sort());
});
