// The stand-in for Grafana as a program, for hosts of the lab: `node serve.ts PORT TOKEN_FILE [api|apis]`. It keeps
// everything in memory, and makes the token of an admin.
import fs from 'node:fs';
import { type Generation, StandInGrafana } from './grafana.ts';

const [port = '3000', tokenFile, generation = 'apis'] = process.argv.slice(2);
const grafana = new StandInGrafana(generation as Generation);
if (tokenFile !== undefined) fs.writeFileSync(tokenFile, `${grafana.token}\n`, { mode: 0o600 });
await grafana.start(Number(port));
console.log(`a stand-in for Grafana, which is not the real one, answers at ${grafana.url}`);
