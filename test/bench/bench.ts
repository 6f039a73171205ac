// `npm run bench`: the budgets of the project, measured. Lines are `name value unit budget met|MISSED`.
// `-- --rounds N` makes it longer or shorter; `--json` prints one array.
import os from 'node:os';
import { parseArgs } from 'node:util';
import { formatRow, type Row } from './statistics.ts';
import { tamper } from './tamper.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '300' }, json: { type: 'boolean', default: false } },
});
const rows: Row[] = [];
for (const files of [1, 1000]) rows.push(...(await tamper(Number(values.rounds), files)));
if (values.json) console.log(JSON.stringify(rows, null, 2));
else {
  console.log(
    `# node ${process.version}, ${os.cpus().length} cores, load ${os
      .loadavg()
      .map((n) => n.toFixed(1))
      .join(' ')}`,
  );
  for (const row of rows) console.log(formatRow(row));
}
