// The program that tests start as a process: this tree's. HOMEOSTAT_PROGRAM names another build of it, to see what that one
// does not survive (`node -e "import('./scripts/bundle.ts').then((m) => m.bundleOneFile('/tmp/old.cjs'))"` in its tree).
import path from 'node:path';

export const OTHER_BUILD = process.env['HOMEOSTAT_PROGRAM'];
export const PROGRAM = OTHER_BUILD ?? path.join(import.meta.dirname, '../../cli/homeostat.ts');
