// The stand-in for Loki, held to its HTTP API as documented (grafana.com/docs/loki/latest/reference/loki-http-api).
// With LOKI_BIN the same is asked of the real one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { pushLine, startLoki } from '../../support/loki.ts';

test('lines are counted by labels, as an instant vector; a log query is refused in words', async (t) => {
  const { url } = await startLoki(t);
  const ask = async (query: string) => {
    const answer = await fetch(`${url}/loki/api/v1/query?query=${encodeURIComponent(query)}`);
    return { status: answer.status, text: await answer.text() };
  };
  const result = async (query: string) => {
    const { data } = JSON.parse((await ask(query)).text);
    assert.equal(data.resultType, 'vector');
    return data.result.map((r: { metric: object; value: [number, string] }) => [r.metric, r.value[1]]);
  };
  assert.deepEqual(await result('sum(count_over_time({job="journal"}[1h]))'), []);
  for (const host of ['a', 'a', 'b'])
    assert.equal(await pushLine(url, { job: 'journal', host }, `of ${host}`), 204);
  await eventually(async () =>
    assert.deepEqual(await result('sum(count_over_time({job="journal"}[1h]))'), [[{}, '3']]),
  );
  assert.deepEqual(await result('sum(count_over_time({job="journal", host="a"}[1h]))'), [[{}, '2']]);
  assert.deepEqual(await result('count_over_time({host="b"}[5m])'), [[{ job: 'journal', host: 'b' }, '1']]);
  const lines = await ask('{job="journal"}');
  assert.equal(lines.status, 400);
  assert.match(lines.text, /log queries are not supported as an instant query type/);
  assert.equal((await ask('rate(')).status, 400);
});
