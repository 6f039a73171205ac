// GrafanaDatasource: what its health means for a change on trial, and for what stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../../agent/providers/clock.ts';
import { createHttp } from '../../../agent/providers/http.ts';
import { grafanaDatasource as kind } from '../../../kinds/grafana-datasource/index.ts';
import type { Verdict } from '../../../kinds/kind.ts';
import type { Ports } from '../../../kinds/ports.ts';
import { desiredOf } from '../../support/desired.ts';
import { AnsweringServer } from '../../support/grafana/answering.ts';
import { StandInGrafana } from '../../support/grafana/grafana.ts';

const never = new AbortController().signal;
const shown = (verdict: Verdict): string =>
  verdict.verdict === 'Yes' ? 'Yes' : `${verdict.verdict} ${verdict.reason}`;

test('a change of what was healthy is refused when it does not become healthy in time; another one waits', async (t) => {
  const grafana = await new StandInGrafana().start();
  const prometheus = await new AnsweringServer().start();
  const http = createHttp();
  t.after(() => Promise.all([http.close(), grafana.stop(), prometheus.stop()]));
  const io = { http, clock: systemClock } as unknown as Ports;
  const spec = (url: string) => ({
    grafana: { url: grafana.url, token: { secretFrom: { env: 'TOKEN' } } },
    uid: 's',
    name: 'S',
    type: 'prometheus',
    url,
  });
  const desire = (url: string) =>
    desiredOf('GrafanaDatasource/s', kind.spec.parse(spec(url)), {
      digest: url,
      content: () => ({ bytes: Buffer.from(grafana.token), secret: true }),
    });
  const change = async (url: string) => {
    const d = desire(url);
    const observed = await kind.observe(d, io, never);
    const { before } = await kind.prepare(d, observed, io, never);
    await kind.apply(kind.diff(d, observed), d, io, never);
    const after = await kind.observe(d, io, never);
    assert.deepEqual(kind.diff(d, after), []);
    const trial = (elapsedMs: number) => shown(kind.assess(d, after, { before, elapsedMs }));
    return { trial, standing: shown(kind.assess(d, after)) };
  };
  const { withinMs } = kind.gate!(spec(prometheus.url));

  const made = await change('http://127.0.0.1:9');
  assert.equal(made.trial(0), 'Unknown DatasourceUnhealthy');
  assert.equal(made.trial(withinMs * 100), 'Unknown DatasourceUnhealthy', 'nothing worked before');
  assert.equal(made.standing, 'No DatasourceUnhealthy');

  const mended = await change(prometheus.url);
  assert.equal(mended.trial(0), 'Yes');

  const broken = await change('http://127.0.0.1:9');
  assert.equal(broken.trial(0), 'Unknown DatasourceUnhealthy');
  assert.equal(broken.trial(withinMs), 'No DatasourceUnhealthy', 'what was Yes before must be Yes again');
});
