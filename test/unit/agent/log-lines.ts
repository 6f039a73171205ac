// For log.test.ts: logs, and ends as its argument says.
import { createLog } from '../../../agent/providers/log.ts';

const log = createLog();
for (let i = 0; i < 1000; i++) log.info({ i }, 'line');
const how = process.argv[2];
if (how === 'exit') process.exit(3);
if (how === 'throw') throw new Error('a bug');
